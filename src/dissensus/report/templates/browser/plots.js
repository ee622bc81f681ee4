// Plots: the listed items as points, coloured and shaped by entropy group; a click opens the item.
const PLOTS = [
  { id: "plot-map", x: (i) => numberOf("variability", choice.condition, i), y: (i) => numberOf("confidence", choice.condition, i), xName: "variability", yName: "confidence" },
  { id: "plot-entropy", x: (i) => datasetOf(i).entropy[placeOf(i)], y: (i) => numberOf("aulc", choice.condition, i), xName: "annotation entropy (bits)", yName: "AULC (nats)", needs: () => D.datasets.some((one) => one.entropy.some(Number.isFinite)) },
  { id: "plot-apart", x: (i) => numberOf("aulc", choice.condition, i), y: (i) => numberOf("aulc", choice.against, i), xName: "AULC, condition", yName: "AULC, compared with", diagonal: true, needs: () => choice.against >= 0 && choice.against !== choice.condition },
];

function ends(values) {
  let low = Infinity, high = -Infinity;
  for (const value of values) if (Number.isFinite(value)) { if (value < low) low = value; if (value > high) high = value; }
  return low <= high ? [Math.min(0, low), high > low ? high + 0.04 * (high - low) : low + 1] : [0, 1];
}

// The colour says the entropy group, and so does the shape: triangles, dots, squares.
function mark(context, x, y, group) {
  context.beginPath();
  if (group === 0) { context.moveTo(x, y - 3); context.lineTo(x + 2.7, y + 2.2); context.lineTo(x - 2.7, y + 2.2); context.closePath(); }
  else if (group === 2) context.rect(x - 1.9, y - 1.9, 3.8, 3.8);
  else context.arc(x, y, 2, 0, 7);
  context.fill();
}

function drawPlot(plot) {
  const canvas = byId(plot.id), frame = canvas.closest("figure");
  frame.hidden = plot.needs ? !plot.needs() : false;
  const width = canvas.clientWidth, height = canvas.clientHeight, ratio = devicePixelRatio || 1;
  if (frame.hidden || !width) return;
  canvas.width = width * ratio;
  canvas.height = height * ratio;
  const context = canvas.getContext("2d"), style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(`--${name}`).trim();
  context.scale(ratio, ratio);
  const xs = Float32Array.from(choice.shown, plot.x), ys = Float32Array.from(choice.shown, plot.y);
  let [x0, x1] = ends(xs), [y0, y1] = ends(ys);
  if (plot.diagonal) { x0 = y0 = Math.min(x0, y0); x1 = y1 = Math.max(x1, y1); }
  const left = 44, right = width - 10, low = height - 36, high = 8;
  const atX = (v) => left + (right - left) * (v - x0) / (x1 - x0), atY = (v) => low - (low - high) * (v - y0) / (y1 - y0);
  context.font = `12px ${style.getPropertyValue("--sans")}`;
  context.strokeStyle = colour("rule");
  context.fillStyle = colour("soft");
  for (let k = 0; k <= 4; k++) {
    const vx = x0 + (x1 - x0) * k / 4, vy = y0 + (y1 - y0) * k / 4;
    context.beginPath();
    context.moveTo(left, atY(vy)); context.lineTo(right, atY(vy));
    context.stroke();
    context.textAlign = k === 4 ? "right" : "center";
    context.fillText(shownNumber(vx, x1 - x0 < 1.5 ? 2 : 1), Math.min(right, atX(vx)), low + 15);
    context.textAlign = "right";
    context.fillText(shownNumber(vy, y1 - y0 < 1.5 ? 2 : 1), left - 5, atY(vy) + 4);
  }
  context.textAlign = "center";
  context.fillText(plot.xName, (left + right) / 2, height - 5);
  context.save();
  context.translate(11, (low + high) / 2); context.rotate(-Math.PI / 2);
  context.fillText(plot.yName, 0, 0);
  context.restore();
  if (plot.diagonal) { context.beginPath(); context.moveTo(left, low); context.lineTo(right, high); context.stroke(); }
  const colours = ["contested", "middle", "settled"].map(colour);
  context.globalAlpha = choice.shown.length > 3000 ? 0.4 : 0.65;
  plot.points = [];
  choice.shown.forEach((i, k) => {
    if (!Number.isFinite(xs[k]) || !Number.isFinite(ys[k])) return;
    const group = datasetOf(i).group[placeOf(i)], x = atX(xs[k]), y = atY(ys[k]);
    context.fillStyle = colours[group] || colours[1];
    mark(context, x, y, group);
    plot.points.push([x, y, i]);
  });
  context.globalAlpha = 1;
  const open = plot.points.find((point) => point[2] === opened);
  if (open) {
    context.strokeStyle = colour("ink");
    context.lineWidth = 2;
    context.beginPath(); context.arc(open[0], open[1], 7, 0, 7); context.stroke();
  }
  const words = choice.condition >= 0 ? D.conditions[choice.condition].condition.full : "mean over all conditions";
  byId(`${plot.id}-note`).textContent = `${plot.points.length.toLocaleString("en")} items; ${D.conditions.length > 1 ? words : D.conditions[0].condition.title}.`;
}

let drawing = 0;
function drawPlots() {
  cancelAnimationFrame(drawing);
  drawing = requestAnimationFrame(() => PLOTS.forEach(drawPlot));
}

function nearest(plot, event) {
  let best = null, least = 14 ** 2;
  for (const point of plot.points || []) {
    const distance = (point[0] - event.offsetX) ** 2 + (point[1] - event.offsetY) ** 2;
    if (distance < least) { least = distance; best = point; }
  }
  return best;
}

for (const plot of PLOTS) {
  const canvas = byId(plot.id);
  canvas.addEventListener("click", (event) => {
    const point = nearest(plot, event);
    if (!point) return;
    openItem(point[2]);
    moveTo(choice.shown.indexOf(point[2]));
    byId("items").scrollIntoView({ block: "start" });
  });
  canvas.addEventListener("mousemove", (event) => {
    const point = nearest(plot, event);
    canvas.style.cursor = point ? "pointer" : "default";
    canvas.title = point ? shownText(`${datasetOf(point[2]).ids[placeOf(point[2])]}: ${textWords(itemOf(point[2])).slice(0, 120)}`) : "";
  });
}
addEventListener("resize", () => { drawList(); drawPlots(); });
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawPlots);
