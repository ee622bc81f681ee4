// Item: everything that is known of one item, its curve under each condition side by side.
const panel = byId("item"), panelBody = byId("item-body");
let opened = -1;

function curveFigure(condition, item, top) {
  const curve = condition.curve(item.place), width = 230, height = 96, left = 30, bottom = 78;
  const x = (u) => left + (width - left - 8) * u, y = (loss) => bottom - (bottom - 8) * loss / top;
  const svg = makeSvg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `Gold-label loss under ${condition.full}: from ${shownNumber(curve[0])} to ${shownNumber(curve[curve.length - 1])} nats` });
  for (const loss of [0, top]) {
    svg.append(makeSvg("path", { d: `M${left} ${y(loss)}H${width - 8}`, class: "rule" }));
    const word = makeSvg("text", { x: left - 4, y: y(loss) + 3, "text-anchor": "end" });
    word.textContent = loss ? top.toFixed(1) : "0";
    svg.append(word);
  }
  for (const [u, text, anchor] of [[0, "start", "start"], [1, "end of training", "end"]]) {
    const word = makeSvg("text", { x: x(u), y: height - 4, "text-anchor": anchor });
    word.textContent = text;
    svg.append(word);
  }
  let path = "";
  curve.forEach((loss, t) => {
    if (!Number.isFinite(loss)) return;
    path += `${path ? "L" : "M"}${x(condition.progress[t]).toFixed(1)} ${y(loss).toFixed(1)}`;
    svg.append(makeSvg("circle", { cx: x(condition.progress[t]).toFixed(1), cy: y(loss).toFixed(1), r: 1.7 }));
  });
  svg.prepend(makeSvg("path", { d: path, class: "curve" }));
  const said = [`${shownNumber(curve[0])} to ${shownNumber(curve[curve.length - 1])} nats`, `AULC ${shownNumber(condition.numbers.aulc[item.place])}`];
  if (condition.unlearned[item.place] >= 0.5) said.push("un-learned");
  if (condition.seeds > 1) said.push(`mean of ${condition.seeds} seeds`);
  if (condition.learned === "no") said.push("the model did not learn here");
  return make("figure", { class: "item-curve" }, make("figcaption", {}, make("b", {}, condition.title), ` (${condition.family.split(" · ")[1] || ""})`), svg, make("span", { class: "small" }, said.join(", ")));
}

function votesTable(item) {
  const rows = item.votes.map((n, k) => {
    const bar = make("span", { class: "bar" }, make("i", {}));
    bar.firstChild.style.width = `${item.asked ? 100 * n / item.asked : 0}%`;
    const label = make("span", { class: k === item.gold ? "label gold" : "label" }, bdi(item.dataset.shown[k]));
    if (k === item.gold) label.append(" ", make("span", { class: "tag" }, "gold"));
    return [label, bar, make("span", {}, shownCount(n))];
  });
  const kept = item.votes.length > 12 ? rows.filter((_, k) => item.votes[k] > 0 || k === item.gold) : rows;
  return make("div", { class: "votes" }, ...kept.flat());
}

// Regimes that agree on the kind and the label are told together, with the lower of their scores.
function mergedKinds(item) {
  const merged = new Map();
  for (const told of item.kinds) {
    const key = `${told.kind.key}\n${told.label}`, one = merged.get(key) || { ...told, regimes: [], all: [] };
    one.regimes.push(told.regime);
    one.all.push(told);
    if (told.score < one.score) one.score = told.score;
    merged.set(key, one);
  }
  const alike = (one) => one.all.every((told) => told.why === one.why);
  const named = (told) => `When ${told.regime.replace("_", " ")}: ${told.why}`;
  return [...merged.values()].map((one) => ({ ...one, whys: alike(one) ? [one.why] : one.all.map(named) }));
}

function openItem(i, focus = false) {
  opened = i;
  const item = itemOf(i), tracked = item.dataset.conditions.filter((one) => one.tracks(item.place));
  const losses = tracked.flatMap((one) => one.curve(item.place)).filter(Number.isFinite);
  const top = Math.max(0.5, ...losses) * 1.05;
  const parts = [make("p", { class: "small" }, bdi(item.dataset.name), " · ", make("span", { class: "id" }, bdi(item.id)))];
  for (const told of mergedKinds(item)) {
    const sure = Number.isFinite(told.score) ? ` (${told.score > 0.99 ? "over 99" : Math.round(100 * told.score)}%)` : "";
    const where = told.regimes.length < item.kinds.length ? ` when ${told.regimes.join(" and ").replaceAll("_", " ")}` : "";
    const label = told.label ? [" Suggested label: ", bdi(told.label), "."] : [];
    parts.push(make("p", { class: "told" }, make("b", {}, told.kind.title), `${sure}${where}. `, bdi(told.whys.join(" ")), ...label, ` ${told.kind.step}`));
  }
  for (const [name, text] of item.text) parts.push(make("p", { class: "riser-text" }, make("span", { class: "field" }, bdi(name)), bdi(text)));
  if (!item.text.length) parts.push(make("p", { class: "small" }, "The text of this item is not in this page."));
  if (item.asked) parts.push(votesTable(item));
  else parts.push(make("p", { class: "small" }, "Gold label: ", bdi(goldWords(item)), ". No annotations."));
  const facts = [Number.isFinite(item.entropy) ? `entropy ${shownNumber(item.entropy)} bits` : "", item.group];
  if (item.asked && item.gold >= 0) facts.push(`${Math.round(100 * item.votes[item.gold] / item.asked)}% chose the gold label`);
  parts.push(make("p", { class: "small" }, facts.filter(Boolean).join(" · ")));
  const chosen = tracked.filter((one) => [choice.condition, choice.against].some((c) => c >= 0 && D.conditions[c].condition === one));
  const sorted = [...chosen, ...tracked.filter((one) => !chosen.includes(one))];
  parts.push(make("div", { class: "item-curves" }, ...sorted.map((one) => curveFigure(one, item, top))));
  panelBody.replaceChildren(...parts);
  byId("item-tick").textContent = choice.ticked.has(i) ? "Untick" : "Tick";
  panel.hidden = false;
  drawPlots();
  if (focus) panel.focus();
  if (matchMedia("(max-width: 60rem)").matches) panel.scrollIntoView({ block: "start" });
}

function closeItem() {
  panel.hidden = true;
  opened = -1;
  drawPlots();
  grid.focus();
}

function step(by) {
  const at = choice.shown.indexOf(opened) + by;
  if (at < 0 || at >= choice.shown.length) return;
  moveTo(at);
}

panel.addEventListener("keydown", (event) => {
  if (event.key === "x") tick(opened);
  else if (event.key === "ArrowRight") step(1);
  else if (event.key === "ArrowLeft") step(-1);
  else return;
  event.preventDefault();
});
byId("item-tick").addEventListener("click", () => tick(opened));
byId("item-next").addEventListener("click", () => step(1));
byId("item-before").addEventListener("click", () => step(-1));
byId("item-close").addEventListener("click", closeItem);
listeners.push(() => { if (opened >= 0) byId("item-tick").textContent = choice.ticked.has(opened) ? "Untick" : "Tick"; });
