// The chart: forecasts of one cell and the rides of the same window, as one SVG.

const NS = "http://www.w3.org/2000/svg";
const PAD = { left: 40, right: 12, top: 12, bottom: 26 };

/** Draw `points` ({at: ms, mean, median, lower, upper, baseline, truth}, null where unknown) into `box`. */
export function drawChart(box, points, { clock, title }) {
  const width = box.clientWidth || 600, height = box.clientHeight || 300;
  const svg = make("svg", { viewBox: `0 0 ${width} ${height}` });
  const known = points.filter((p) => p.median !== null || p.truth !== null);
  if (!known.length) { box.replaceChildren(svg); return; }
  const first = points[0].at, last = points[points.length - 1].at || first + 1;
  const top = niceTop(Math.max(1, ...known.flatMap((p) => [p.upper ?? 0, p.truth ?? 0, p.mean ?? 0, p.baseline ?? 0])));
  const x = (at) => PAD.left + (width - PAD.left - PAD.right) * (last > first ? (at - first) / (last - first) : 0.5);
  const y = (value) => height - PAD.bottom - (height - PAD.top - PAD.bottom) * value / top.value;

  for (let value = 0; value <= top.value + 1e-9; value += top.step) {
    svg.append(make("line", { class: "grid", x1: PAD.left, x2: width - PAD.right, y1: y(value), y2: y(value) }));
    svg.append(make("text", { x: PAD.left - 8, y: y(value) + 4, "text-anchor": "end" }, String(+value.toFixed(2))));
  }
  for (const at of hourTicks(first, last, width)) {
    const edge = x(at) > width - 24 ? "end" : "middle";
    svg.append(make("text", { x: edge === "end" ? width - 1 : x(at), y: height - 6, "text-anchor": edge }, clock(at)));
  }
  const lastTruth = points.findLast((p) => p.truth !== null);
  if (lastTruth && lastTruth.at < last) {
    const from = x(lastTruth.at);
    svg.append(make("rect", { class: "openarea", x: from, y: PAD.top, width: width - PAD.right - from, height: height - PAD.top - PAD.bottom }));
  }
  for (const run of runs(points, "upper")) {
    const above = run.map((p) => `${x(p.at)},${y(p.upper)}`), below = run.map((p) => `${x(p.at)},${y(p.lower)}`).reverse();
    svg.append(make("polygon", { class: "p-band", points: [...above, ...below].join(" ") }));
  }
  for (const [name, kind] of [["baseline", "base"], ["mean", "mean"], ["median", "median"], ["truth", "truth"]]) {
    for (const run of runs(points, name)) {
      svg.append(make("polyline", { class: `p p-${kind}`, points: run.map((p) => `${x(p.at)},${y(p[name])}`).join(" ") }));
    }
  }
  if (lastTruth) svg.append(make("circle", { class: "dot", cx: x(lastTruth.at), cy: y(lastTruth.truth), r: 4 }));

  const cross = make("line", { class: "cross", y1: PAD.top, y2: height - PAD.bottom, visibility: "hidden" });
  svg.append(cross);
  const tip = document.createElement("div");
  tip.className = "tip";
  tip.hidden = true;
  const point = (event) => {
    const at = event.clientX - svg.getBoundingClientRect().left;
    const near = points.reduce((best, p) => (Math.abs(x(p.at) - at) < Math.abs(x(best.at) - at) ? p : best));
    cross.setAttribute("x1", x(near.at)); cross.setAttribute("x2", x(near.at)); cross.setAttribute("visibility", "visible");
    tip.replaceChildren(...tipRows(near, title(near.at)));
    tip.hidden = false;
    tip.style.left = x(near.at) > width / 2 ? "" : `${x(near.at) + 12}px`;
    tip.style.right = x(near.at) > width / 2 ? `${width - x(near.at) + 12}px` : "";
  };
  svg.addEventListener("pointermove", point);
  svg.addEventListener("pointerdown", point);
  svg.addEventListener("pointerleave", () => { tip.hidden = true; cross.setAttribute("visibility", "hidden"); });
  box.replaceChildren(svg, tip);
}

function tipRows(p, heading) {
  const head = document.createElement("b");
  head.textContent = heading;
  const rows = [["rides", p.truth], ["median", p.median], ["mean", p.mean], ["band", p.lower === null ? null : `${short(p.lower)} to ${short(p.upper)}`], ["baseline", p.baseline]];
  return [head, ...rows.map(([name, value]) => {
    const row = document.createElement("span"), amount = document.createElement("b");
    amount.textContent = value === null ? "not yet" : typeof value === "number" ? short(value) : value;
    row.append(name, amount);
    return row;
  })];
}

export const short = (value) => String(+value.toFixed(value < 10 ? 2 : 1));

function runs(points, name) {
  const out = [];
  let run = [];
  for (const p of points) {
    if (p[name] === null) { if (run.length) out.push(run); run = []; } else run.push(p);
  }
  return run.length ? [...out, run] : out;
}

function niceTop(value) {
  const rough = value * 1.02 / 5, power = 10 ** Math.floor(Math.log10(rough));
  const steps = [1, 1.5, 2, 3, 5, 10].map((n) => n * power).filter((n) => value < 4 || Number.isInteger(n));
  const step = steps.find((n) => n >= rough) ?? 1;
  return { step, value: Math.ceil(value * 1.02 / step - 1e-9) * step };
}

function hourTicks(first, last, width) {
  const hour = 3600e3, most = Math.max(2, Math.floor(width / 85));
  const step = [0.25, 0.5, 1, 2, 3, 6, 12, 24].map((n) => n * hour).find((n) => (last - first) / n <= most) ?? 48 * hour;
  const out = [];
  for (let at = Math.ceil(first / step) * step; at <= last; at += step) out.push(at);
  return out;
}

function make(name, attributes, text) {
  const element = document.createElementNS(NS, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  return element;
}
