// List: the chosen items in a grid of which only the rows in sight exist.
const grid = byId("list"), spacer = byId("list-rows"), pool = [];
const rowHeight = () => (matchMedia("(max-width: 40rem)").matches ? 96 : 58);

function sparkline(curve) {
  const known = curve.filter(Number.isFinite), top = Math.max(...known), low = Math.min(...known);
  const at = (value) => 22 - 20 * (value - low) / (top - low || 1);
  let path = "";
  curve.forEach((value, t) => {
    if (Number.isFinite(value)) path += `${path ? "L" : "M"}${(2 + 66 * t / (curve.length - 1 || 1)).toFixed(1)} ${at(value).toFixed(1)}`;
  });
  return makeSvg("svg", { viewBox: "0 0 70 24", class: "line", "aria-hidden": "true" }, makeSvg("path", { d: path }));
}

function voteBar(item) {
  const bar = make("span", { class: "vote-bar", "aria-hidden": "true" });
  item.votes.forEach((n, k) => {
    if (!n) return;
    const part = make("i", { class: k === item.gold ? "gold" : "" });
    part.style.flexGrow = String(n);
    bar.append(part);
  });
  return bar;
}

function goldWords(item) { return item.gold < 0 ? "no gold label" : item.dataset.shown[item.gold]; }
function kindWords(item) { return [...new Set(item.kinds.filter((told) => regimeFits(told.regime)).map((told) => told.kind.title))].join(", "); }
function textWords(item) { return item.text.map((pair) => pair[1]).join(" / ") || "text not in this page"; }
function voteWords(item) { return item.asked ? item.votes.map((n, k) => (n ? `${item.dataset.shown[k]} ${shownCount(n)}` : "")).filter(Boolean).join(", ") : "no annotations"; }
const shownCount = (n) => (Math.abs(n - Math.round(n)) < 1e-6 ? String(Math.round(n)) : n.toFixed(2));

function conditionShown(item) {
  const chosen = choice.condition >= 0 && D.conditions[choice.condition];
  if (chosen) return chosen.condition;
  return item.dataset.conditions.find((one) => regimeFits(one.regime) && one.tracks(item.place)) || item.dataset.conditions[0];
}

function changeWords(item) {
  if (choice.against >= 0) return `AULC ${shownNumber(numberOf("aulc", choice.condition, item.i))} against ${shownNumber(numberOf("aulc", choice.against, item.i))}`;
  const delta = numberOf("delta", choice.condition, item.i);
  return `AULC ${shownNumber(numberOf("aulc", choice.condition, item.i))}, change ${delta > 0 ? "+" : ""}${shownNumber(delta)}`;
}

function fillRow(row, at) {
  const i = choice.shown[at], item = itemOf(i), ticked = choice.ticked.has(i);
  row.at = at;
  row.id = `row-${at}`;
  row.setAttribute("aria-rowindex", String(at + 2));
  row.setAttribute("aria-selected", String(at === choice.active));
  row.style.transform = `translateY(${at * rowHeight()}px)`;
  const box = make("input", { type: "checkbox", tabIndex: -1, checked: ticked, "aria-label": `Tick ${item.id}` });
  const cell = (name, ...inside) => make("div", { role: "gridcell", class: name }, ...inside);
  row.replaceChildren(
    cell("c-tick", box),
    cell("c-text", make("div", { class: "one-line" }, bdi(textWords(item))), make("div", { class: "small one-line" }, make("b", {}, kindWords(item)), kindWords(item) ? " · " : "", bdi(item.id))),
    cell("c-gold", bdi(goldWords(item)), voteBar(item)),
    cell("c-number", Number.isFinite(item.entropy) ? `${shownNumber(item.entropy)} bits` : ""),
    cell("c-curve", sparkline(conditionShown(item).curve(item.place)), make("span", { class: "small" }, changeWords(item))),
  );
}

function drawRows() {
  const height = rowHeight(), first = Math.max(0, Math.floor(grid.scrollTop / height) - 4);
  const last = Math.min(choice.shown.length, first + Math.ceil(grid.clientHeight / height) + 9);
  while (pool.length < last - first) {
    const row = make("div", { role: "row", class: "item-row" });
    pool.push(row);
    spacer.append(row);
  }
  pool.forEach((row, k) => {
    row.hidden = first + k >= last;
    if (!row.hidden) fillRow(row, first + k);
  });
}

function drawList() {
  grid.setAttribute("aria-rowcount", String(choice.shown.length + 1));
  spacer.style.height = `${choice.shown.length * rowHeight()}px`;
  byId("list-empty").hidden = choice.shown.length > 0;
  const ticked = choice.ticked.size;
  byId("list-count").textContent = `${choice.shown.length.toLocaleString("en")} of ${D.total.toLocaleString("en")} items${ticked ? `, ${ticked.toLocaleString("en")} ticked` : ""}`;
  byId("export").textContent = ticked ? `Export ${ticked.toLocaleString("en")} ticked` : `Export ${choice.shown.length.toLocaleString("en")} listed`;
  drawRows();
  markActive();
}

function markActive() {
  if (choice.active >= 0) grid.setAttribute("aria-activedescendant", `row-${choice.active}`);
  else grid.removeAttribute("aria-activedescendant");
}

function moveTo(at) {
  if (!choice.shown.length) return;
  choice.active = Math.max(0, Math.min(choice.shown.length - 1, at));
  const top = choice.active * rowHeight();
  if (top < grid.scrollTop) grid.scrollTop = top;
  else if (top + rowHeight() > grid.scrollTop + grid.clientHeight) grid.scrollTop = top + rowHeight() - grid.clientHeight;
  drawRows();
  markActive();
  if (opened >= 0 && opened !== choice.shown[choice.active]) openItem(choice.shown[choice.active]);
}

grid.addEventListener("scroll", () => requestAnimationFrame(drawRows), { passive: true });
grid.addEventListener("click", (event) => {
  const row = event.target.closest(".item-row");
  if (!row) return;
  const i = choice.shown[row.at];
  if (event.target.matches("input")) { tick(i, event.target.checked); return; }
  moveTo(row.at);
  openItem(i);
});
grid.addEventListener("keydown", (event) => {
  const page = Math.max(1, Math.floor(grid.clientHeight / rowHeight()) - 1);
  const moves = { ArrowDown: choice.active + 1, ArrowUp: choice.active - 1, PageDown: choice.active + page, PageUp: choice.active - page, Home: 0, End: choice.shown.length - 1 };
  if (event.key in moves) moveTo(moves[event.key]);
  else if (event.key === "Enter" && choice.active >= 0) openItem(choice.shown[choice.active], opened === choice.shown[choice.active]);
  else if (event.key === "x" && choice.active >= 0 && !event.ctrlKey && !event.metaKey) tick(choice.shown[choice.active]);
  else return;
  event.preventDefault();
});
