// Asks for the study's state and draws it. Every text goes in as text, never as HTML: names are other people's.
"use strict";
const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 240, HEIGHT = 120, LEFT = 26, BOTTOM = 14, TOP = 6;
const FIRST = ["running", "failed", "interrupted", "done", "pending"];
let last = "";

function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function drawn(name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

function chart(lines, top) {
  const x = (u) => LEFT + u * (WIDTH - LEFT - 4);
  const y = (loss) => TOP + (1 - loss / top) * (HEIGHT - TOP - BOTTOM);
  const words = lines.map((line) => {
    const known = line.mean.filter((loss) => loss !== null);
    return line.group + " (n = " + line.n + "): " +
      (known.length ? known[0].toFixed(2) + " to " + known[known.length - 1].toFixed(2) + " nats" : "undefined");
  });
  const svg = drawn("svg", {viewBox: "0 0 " + WIDTH + " " + HEIGHT, role: "img", "aria-label": words.join("; ")});
  svg.append(drawn("path", {class: "axis", d: "M" + LEFT + " " + TOP + "V" + y(0) + "H" + (WIDTH - 4)}));
  svg.append(drawn("text", {x: 0, y: TOP + 6}, top.toFixed(1)), drawn("text", {x: 0, y: y(0)}, "0"));
  svg.append(drawn("text", {x: LEFT, y: HEIGHT - 2}, "0"), drawn("text", {x: WIDTH - 8, y: HEIGHT - 2}, "1"));
  for (const line of lines) {
    const points = line.mean.map((loss, at) => [line.progress[at], loss]).filter((point) => point[1] !== null);
    svg.append(drawn("polyline", {class: "line " + line.group,
      points: points.map(([u, loss]) => x(u) + "," + y(loss)).join(" ")}));
    for (const [u, loss] of points)
      svg.append(drawn("circle", {class: "line " + line.group, cx: x(u), cy: y(loss), r: 1.2}));
  }
  return svg;
}

function card(cell, top) {
  const article = element("article");
  article.append(element("h2", cell.cell));
  article.append(element("p", cell.state + (cell.doing ? ": " + cell.doing : "") + ", " + cell.points +
    " tracking points", cell.state === "failed" ? "failed" : ""));
  const bar = element("progress");
  bar.max = cell.total_steps || 1;
  bar.value = cell.state === "done" ? bar.max : cell.step;
  bar.setAttribute("aria-label", "steps of " + cell.cell);
  article.append(bar);
  if (cell.error) article.append(element("p", cell.error, "error"));
  if (cell.lines.length) article.append(chart(cell.lines, top));
  return article;
}

function show(state) {
  document.title = state.name + " · dissensus";
  document.getElementById("name").textContent = state.name;
  const counts = new Map();
  for (const cell of state.cells) counts.set(cell.state, (counts.get(cell.state) || 0) + 1);
  document.getElementById("counts").textContent =
    state.cells.length + " cells: " + [...counts].map(([name, n]) => n + " " + name).join(", ");
  const losses = state.cells.flatMap((cell) => cell.lines.flatMap((line) => line.mean)).filter((v) => v !== null);
  const top = losses.reduce((most, loss) => Math.max(most, loss), 0.1) * 1.05;
  const cells = [...state.cells].sort((a, b) => FIRST.indexOf(a.state) - FIRST.indexOf(b.state));
  document.getElementById("cells").replaceChildren(...cells.map((cell) => card(cell, top)));
}

async function poll() {
  let wait = 2000;
  try {
    const answer = await fetch("/state.json", {cache: "no-store"});
    const text = await answer.text();
    const state = JSON.parse(text);
    if (state.error) document.getElementById("counts").textContent = state.error;
    else if (text !== last) show(state);
    last = text;
    if (!state.error && state.cells.every((cell) => cell.state === "done")) wait = 15000;
  } catch {
    document.getElementById("counts").textContent = "The server has stopped; start `dissensus serve` again.";
    last = "";
  }
  setTimeout(poll, wait);
}
poll();
