// Exports: ticked or listed items as files, under the field names of dissensus/exchange/annotation_tools.py.
const FORMULA = ["=", "+", "-", "@", "\t", "\r", "\uff1d", "\uff0b", "\uff0d", "\uff20"];
const csvCell = (value) => {
  if (typeof value !== "string") return value === null || value === undefined ? "" : String(value);
  const guarded = FORMULA.some((sign) => value.replace(/^ +/, "").startsWith(sign)) ? `'${value}` : value;
  return /[",\r\n]/.test(guarded) ? `"${guarded.replaceAll('"', '""')}"` : guarded;
};

function reasons(item, taken = []) {
  const votes = item.votes.map((n, k) => (n > 0 ? `${item.dataset.labels[k]} ${shownCount(n)}` : "")).filter(Boolean).join(", ") || "none";
  const facts = { gold: item.gold < 0 ? "" : item.dataset.labels[item.gold], votes };
  if (Number.isFinite(item.entropy)) facts.entropy = Number(item.entropy.toFixed(6));
  facts.why = item.kinds.map((told) => `${told.kind.title}: ${told.why}`).join(" ");
  const used = new Set([...item.text.map((pair) => pair[0]), ...taken]);
  return Object.fromEntries(Object.entries(facts).map(([name, value]) => [used.has(name) ? `queue_${name}` : name, value]));
}

function kindFacts(item) {
  const first = item.kinds[0];
  return {
    kind: item.kinds.map((told) => told.kind.key).filter((key, k, all) => all.indexOf(key) === k).join(", "),
    score: first && Number.isFinite(first.score) ? Number(first.score.toFixed(3)) : null,
    suggested_label: first ? first.label : "",
  };
}

const FORMS = {
  csv: { ending: "csv", type: "text/csv", write(items) {
    const fields = [...new Set(items.flatMap((item) => item.text.map((pair) => pair[0])))];
    const rows = items.map((item) => ({ facts: { ...reasons(item), ...kindFacts(item), dataset: item.dataset.name }, text: Object.fromEntries(item.text), id: item.id }));
    const named = [...new Set(rows.flatMap((row) => Object.keys(row.facts)))];
    const lines = [["item_id", ...fields, "annotator", "annotation", ...named]];
    for (const row of rows) lines.push([row.id, ...fields.map((name) => row.text[name] ?? ""), "", "", ...named.map((name) => row.facts[name])]);
    return "\ufeff" + lines.map((line) => line.map(csvCell).join(",") + "\r\n").join("");
  } },
  jsonl: { ending: "jsonl", type: "application/x-ndjson", write: (items) => items.map((item) => JSON.stringify({
    item_id: item.id, dataset: item.dataset.name, text: Object.fromEntries(item.text), labels: item.dataset.labels, counts: item.votes,
    ...reasons({ ...item, text: [] }), group: item.group, ...kindFacts(item),
    conditions: Object.fromEntries(item.dataset.conditions.filter((one) => one.tracks(item.place)).map((one) => [one.full, Object.fromEntries(Object.entries(one.numbers).map(([name, values]) => [name, Number.isFinite(values[item.place]) ? Number(values[item.place].toFixed(4)) : null]))])),
  }) + "\n").join("") },
  "label-studio": { ending: "json", type: "application/json", write: (items) => JSON.stringify(items.map((item) => ({ data: { item_id: item.id, ...Object.fromEntries(item.text), ...reasons(item) } })), null, 1) + "\n" },
  argilla: { ending: "json", type: "application/json", write: (items) => JSON.stringify(items.map((item) => ({ id: item.id, fields: Object.fromEntries(item.text), metadata: { item_id: item.id, ...reasons(item) } })), null, 1) + "\n" },
  prodigy: { ending: "jsonl", type: "application/x-ndjson", write: (items) => items.map((item) => JSON.stringify({
    text: item.text.length === 1 ? item.text[0][1] : item.text.map((pair) => `${pair[0]}: ${pair[1]}`).join("\n\n"),
    options: item.dataset.labels.map((label) => ({ id: label, text: label })), meta: { item_id: item.id }, ...reasons(item, ["text", "options", "meta"]),
  }) + "\n").join("") },
};

function exportItems() {
  const form = byId("f-form").value, { ending, type, write } = FORMS[form];
  const places = choice.ticked.size ? [...choice.ticked].sort((a, b) => a - b) : Array.from(choice.shown);
  const link = make("a", { download: `items-${form}.${ending}` });
  link.href = URL.createObjectURL(new Blob([write(places.map(itemOf))], { type: `${type};charset=utf-8` }));
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}
byId("export").addEventListener("click", exportItems);
