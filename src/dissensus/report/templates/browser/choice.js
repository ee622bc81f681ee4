// Choice: which items are listed, in which order, and which are ticked.
const byId = (id) => document.getElementById(id);
const choice = { shown: new Uint32Array(0), active: -1, ticked: new Set(), condition: -1, against: -1 };
const listeners = [];
let haystacks = null;

function haystack(i) {
  haystacks ||= new Array(D.total);
  return (haystacks[i] ||= [datasetOf(i).ids[placeOf(i)], ...datasetOf(i).textOf(placeOf(i)).map((pair) => pair[1])].join("\n").toLowerCase());
}

// Values that items are sorted by: the largest first, except ids.
const ORDERS = {
  kind: (i) => {
    let best = 0;
    for (const told of datasetOf(i).kinds) {
      const kind = told.kind[placeOf(i)];
      if (kind !== 255 && regimeFits(told.regime)) best = Math.max(best, (D.kinds.length - kind) * 2 + (told.score[placeOf(i)] || 0));
    }
    return best;
  },
  score: (i) => {
    let best = NaN;
    for (const told of datasetOf(i).kinds) {
      const score = told.score[placeOf(i)];
      if (regimeFits(told.regime) && kindFits(told.kind[placeOf(i)]) && !(best >= score)) best = score;
    }
    return best;
  },
  entropy: (i) => datasetOf(i).entropy[placeOf(i)],
  aulc: (i) => numberOf("aulc", choice.condition, i),
  delta: (i) => numberOf("delta", choice.condition, i),
  confidence: (i) => -numberOf("confidence", choice.condition, i),
  variability: (i) => numberOf("variability", choice.condition, i),
  apart: (i) => Math.abs(numberOf("aulc", choice.condition, i) - numberOf("aulc", choice.against, i)),
};

const controls = {};
for (const name of ["q", "kind", "dataset", "label", "group", "regime", "condition", "against", "order", "only"]) controls[name] = byId(`f-${name}`);
// What the controls say, read once for each choice: ten thousand items ask for it.
const wanted = {};
const readWanted = () => { for (const [name, control] of Object.entries(controls)) wanted[name] = control.value; };
const regimeFits = (regime) => !wanted.regime || wanted.regime === regime;
const kindFits = (kind) => kind !== 255 && (!wanted.kind || D.kinds[kind].key === wanted.kind);

function fits(i, words) {
  const dataset = datasetOf(i), place = placeOf(i);
  if (wanted.dataset && dataset.name !== wanted.dataset) return false;
  if (wanted.group && D.groups[dataset.group[place]] !== wanted.group) return false;
  if (wanted.label && dataset.shown[dataset.gold[place]] !== wanted.label) return false;
  if (wanted.kind && !dataset.kinds.some((told) => regimeFits(told.regime) && kindFits(told.kind[place]))) return false;
  if (wanted.regime && !dataset.conditions.some((one) => regimeFits(one.regime) && one.tracks(place))) return false;
  if (choice.condition >= 0) {
    const one = D.conditions[choice.condition];
    if (one.dataset !== D.owner[i] || !one.condition.tracks(place)) return false;
  }
  if (wanted.only === "ticked" && !choice.ticked.has(i)) return false;
  if (wanted.only === "unlearned") {
    const among = choice.condition >= 0 ? [D.conditions[choice.condition].condition] : dataset.conditions;
    if (!among.some((one) => regimeFits(one.regime) && one.unlearned[place] >= 0.5)) return false;
  }
  return words.every((word) => haystack(i).includes(word));
}

function choose() {
  readWanted();
  choice.condition = Number(wanted.condition);
  choice.against = Number(wanted.against);
  const words = wanted.q.toLowerCase().split(/\s+/).filter(Boolean), open = choice.shown[choice.active], kept = [];
  for (let i = 0; i < D.total; i++) if (fits(i, words)) kept.push(i);
  const order = ORDERS[wanted.order];
  if (order) {
    const values = new Float64Array(D.total);
    for (const i of kept) { const value = order(i); values[i] = value === value ? value : -Infinity; }
    kept.sort((a, b) => values[b] - values[a] || a - b);
  }
  choice.shown = Uint32Array.from(kept);
  choice.active = choice.shown.indexOf(open);
  grid.scrollTop = 0;
  for (const listener of listeners) listener();
}

function option(value, text) { return make("option", { value: String(value) }, shownText(text)); }

function fillControls() {
  const labels = new Set(D.datasets.flatMap((dataset) => dataset.shown));
  for (const kind of D.kinds) if (D.datasets.some((one) => one.kinds.some((told) => told.kind.includes(D.kinds.indexOf(kind))))) controls.kind.append(option(kind.key, kind.title));
  for (const name of new Set(D.datasets.map((one) => one.name))) controls.dataset.append(option(name, name));
  for (const label of labels) controls.label.append(option(label, label));
  for (const group of D.groups) controls.group.append(option(group, group));
  const regimes = new Set(D.conditions.map(({ condition }) => condition.regime));
  for (const regime of regimes) controls.regime.append(option(regime, regime.replace("_", " ")));
  D.conditions.forEach(({ condition }, c) => {
    const name = D.conditions.length > 1 ? condition.full : condition.title;
    controls.condition.append(option(c, name));
    controls.against.append(option(c, name));
  });
  const needless = {
    kind: controls.kind.length < 2, dataset: D.datasets.length < 2, group: !D.datasets.some((one) => one.group.some((g) => g !== 255)),
    regime: regimes.size < 2, condition: D.conditions.length < 2, against: D.conditions.length < 2,
  };
  for (const [name, hidden] of Object.entries(needless)) controls[name].closest("label").hidden = hidden;
  for (const [name, control] of Object.entries(controls)) control.addEventListener(name === "q" ? "input" : "change", () => {
    if (name === "against" && controls.against.value !== "-1") controls.order.value = "apart";
    choose();
  });
}

function tick(i, on = !choice.ticked.has(i)) {
  if (on) choice.ticked.add(i); else choice.ticked.delete(i);
  for (const listener of listeners) listener();
}
