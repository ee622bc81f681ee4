// Data: the JSON of the page unpacked into typed arrays. See report/items/packed.py for its form.
const NONE = { u1: 255, u2: 65535, u4: 4294967295 };
const ARRAYS = { u1: Uint8Array, u2: Uint16Array, u4: Uint32Array, f8: Float64Array };

function unpack([kind, text]) {
  const raw = atob(text);
  const bytes = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
  return new ARRAYS[kind](bytes.buffer);
}

// Whole numbers from 0 to `top` as numbers between low and high; NaN for "none".
function scaled(packed, low, high, top) {
  const whole = unpack(packed), none = NONE[packed[0]], values = new Float32Array(whole.length);
  for (let i = 0; i < whole.length; i++) values[i] = whole[i] === none ? NaN : low + (high - low) * whole[i] / top;
  return values;
}

function unpackCondition(stored) {
  const points = stored.progress.length, losses = unpack(stored.losses);
  const numbers = {};
  for (const [name, one] of Object.entries(stored.numbers)) numbers[name] = scaled(one.values, one.low, one.high, 65534);
  const regime = stored.regime.replace("_", " ");
  return {
    ...stored, numbers, points, title: `${stored.name}, ${regime}`, full: `${stored.family} · ${stored.name}`,
    unlearned: scaled(stored.unlearned, 0, 1, 254),
    curve(place) {
      const curve = [];
      for (let t = 0; t < points; t++) {
        const q = losses[place * points + t];
        curve.push(q === 255 ? NaN : stored.top * (q / 254) ** 2);
      }
      return curve;
    },
    tracks: (place) => losses[place * points] !== 255 || losses[place * points + points - 1] !== 255,
  };
}

function unpackDataset(stored, strings, begin) {
  const texts = stored.texts.map(unpack), k = stored.labels.length;
  const votes = unpack(stored.votes), gold = unpack(stored.gold);
  const string = (place) => (place === NONE.u4 ? "" : strings[place]);
  const kinds = Object.entries(stored.kinds).map(([regime, one]) => {
    const label = unpack(one.label), why = unpack(one.why);
    return {
      regime, kind: unpack(one.kind), score: scaled(one.score, 0, 1, 254),
      label: (place) => string(label[place]), why: (place) => string(why[place]),
    };
  });
  return {
    ...stored, begin, kinds, gold, entropy: unpack(stored.entropy), group: unpack(stored.group),
    conditions: stored.conditions.map(unpackCondition),
    votesOf: (place) => Array.from(votes.subarray(place * k, place * k + k)),
    textOf(place) {
      const text = [];
      stored.fields.forEach((name, f) => { if (texts[f][place] !== NONE.u4) text.push([name, strings[texts[f][place]]]); });
      return text;
    },
  };
}

function readData() {
  const stored = JSON.parse(document.getElementById("items-data").textContent);
  const datasets = [];
  let total = 0;
  for (const one of stored.datasets) {
    datasets.push(unpackDataset(one, stored.strings, total));
    total += one.ids.length;
  }
  const conditions = datasets.flatMap((dataset, d) => dataset.conditions.map((condition) => ({ dataset: d, condition })));
  const owner = new Uint8Array(total);
  datasets.forEach((dataset, d) => owner.fill(d, dataset.begin, dataset.begin + dataset.ids.length));
  return { ...stored, datasets, conditions, total, owner };
}

const D = readData();
const datasetOf = (i) => D.datasets[D.owner[i]];
const placeOf = (i) => i - datasetOf(i).begin;

function itemOf(i) {
  const dataset = datasetOf(i), place = placeOf(i), votes = dataset.votesOf(place);
  const gold = dataset.gold[place], asked = votes.reduce((sum, n) => sum + n, 0);
  return {
    i, dataset, place, votes, asked, id: dataset.ids[place], text: dataset.textOf(place),
    gold: gold === NONE.u2 ? -1 : gold, entropy: dataset.entropy[place], group: D.groups[dataset.group[place]] || "",
    kinds: dataset.kinds.filter((told) => told.kind[place] !== 255).map((told) => ({
      regime: told.regime, kind: D.kinds[told.kind[place]], score: told.score[place], label: told.label(place), why: told.why(place),
    })),
  };
}

// A number of one item under one condition; under all (-1) the mean over those that track it.
function numberOf(name, condition, i) {
  if (condition >= 0) {
    const one = D.conditions[condition];
    return one.dataset === D.owner[i] ? one.condition.numbers[name][placeOf(i)] : NaN;
  }
  let sum = 0, n = 0;
  for (const one of datasetOf(i).conditions) {
    const value = one.numbers[name][placeOf(i)];
    if (value === value) { sum += value; n += 1; }
  }
  return n ? sum / n : NaN;
}

const shownNumber = (value, decimals = 2) => (Number.isFinite(value) ? value.toFixed(decimals).replace("-", "\u2212") : "undefined");
// Control characters (terminal escapes among them) would show as nothing, or act: they show as a replacement sign.
const shownText = (text) => text.replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f]/g, "\ufffd");

function make(tag, properties, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties || {})) {
    if (name === "class") element.className = value;
    else if (name in element && typeof value !== "string") element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}
const bdi = (text) => make("bdi", { dir: "auto" }, shownText(text));

function makeSvg(tag, attributes, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}
