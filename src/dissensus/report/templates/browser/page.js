// Page: tiles, keys, links into closed parts, printing.
function openAround(element) {
  for (let part = element; part; part = part.parentElement) if (part.tagName === "DETAILS") part.open = true;
}

function showTarget() {
  const target = location.hash.length > 1 && byId(decodeURIComponent(location.hash.slice(1)));
  if (!target) return;
  openAround(target);
  target.querySelectorAll(":scope > details").forEach((part) => { part.open = true; });
  target.scrollIntoView();
}
addEventListener("hashchange", showTarget);
document.addEventListener("click", (event) => {
  const link = event.target.closest("a[href^='#']");
  if (!link) return;
  if (link.dataset.kind) { controls.kind.value = link.dataset.kind; controls.order.value = "score"; choose(); }
  if (link.hash === location.hash) showTarget();
});

document.addEventListener("keydown", (event) => {
  const typing = event.target.matches("input:not([type=checkbox]), select, textarea");
  if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey) {
    controls.q.focus();
    event.preventDefault();
  } else if (event.key === "Escape" && event.target === controls.q) grid.focus();
  else if (event.key === "Escape" && opened >= 0 && !typing) closeItem();
  else if (event.key === "ArrowDown" && event.target === controls.q) { grid.focus(); moveTo(Math.max(0, choice.active)); event.preventDefault(); }
});
byId("clear").addEventListener("click", () => {
  for (const control of Object.values(controls)) control.value = control.tagName === "SELECT" ? control.options[0].value : "";
  choose();
});
byId("tick-all").addEventListener("click", () => {
  const all = choice.shown.every((i) => choice.ticked.has(i));
  for (const i of choice.shown) if (all) choice.ticked.delete(i); else choice.ticked.add(i);
  for (const listener of listeners) listener();
});

// Print opens every part, and writes out the first of the listed items; afterwards all is as it was.
const PRINTED = 200;
let closed = [];
addEventListener("beforeprint", () => {
  closed = [...document.querySelectorAll("details:not([open])")];
  for (const part of closed) part.open = true;
  const rows = Array.from(choice.shown.slice(0, PRINTED), itemOf).map((item) => make("tr", {}, make("td", {}, bdi(item.id)), make("td", {}, bdi(textWords(item))), make("td", {}, bdi(goldWords(item))), make("td", {}, bdi(voteWords(item))), make("td", {}, kindWords(item)), make("td", {}, changeWords(item))));
  const head = make("tr", {}, ...["Item", "Text", "Gold label", "Votes", "Kind", "Loss"].map((name) => make("th", { scope: "col" }, name)));
  byId("printed").replaceChildren(
    make("p", { class: "small" }, `${Math.min(PRINTED, choice.shown.length)} of ${choice.shown.length} listed items.`),
    make("table", {}, make("thead", {}, head), make("tbody", {}, ...rows)),
  );
});
addEventListener("afterprint", () => {
  for (const part of closed) part.open = false;
  byId("printed").replaceChildren();
});

listeners.push(drawList, drawPlots);
fillControls();
byId("browser").hidden = false;
choose();
if (location.hash) showTarget();
setTimeout(() => { for (let i = 0; i < D.total; i++) haystack(i); }); // the first search need not wait for it
// Whoever drives the page (tests, measurements) waits for this.
document.documentElement.dataset.ready = "yes";
