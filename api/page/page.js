// The page: requests data from the API every few seconds and displays it; it computes only drawings.

import { drawAlerts } from "./alerts.js";
import { drawChart, short } from "./chart.js";
import { drawMap } from "./map.js";
import { drawReasons } from "./reasons.js";

const REFRESH_MS = 2000, MOST_CELLS = 500, LISTED = 60;
const byId = (id) => document.getElementById(id);
const state = { region: null, cell: null, horizon: null, hours: 6, size: -1, asked: "", seen: [], forecasts: null, track: null, cellAt: () => null, summary: null, measuring: false };

async function ask(path) {
  const response = await fetch(path, { headers: { Accept: "application/json" } });
  const body = await response.json();
  if (!response.ok) throw Object.assign(new Error(body.detail), { status: response.status });
  return body;
}

function element(name, className, ...content) {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.append(...content);
  return made;
}

async function refresh() {
  try {
    const all = await ask("/v1/regions");
    byId("instance").textContent = all.instance === "local" ? "" : all.instance;
    if (!all.regions.length) throw new Error("no region is configured");
    state.region ??= new URLSearchParams(location.search).get("region") ?? all.regions[0].region;
    const summary = all.regions.find((r) => r.region === state.region) ?? all.regions[0];
    state.region = summary.region;
    showRegions(all.regions);
    state.summary = summary;
    showNow(summary);
    await refreshAlerts();
    document.querySelector("main").className = summary.status;
    if (summary.status === "serving") {
      const horizon = (state.horizon ??= summary.horizons_min[0]), wanted = `${state.region} ${horizon} ${state.cell} ${state.hours}`;
      if (summary.size !== state.size || wanted !== state.asked || state.measuring) await refreshNumbers(summary, horizon);
    }
    byId("trouble").hidden = true;
  } catch (trouble) {
    byId("trouble").textContent = trouble.status === 409 ? trouble.message : `No response: ${trouble.message}. Retrying.`;
    byId("trouble").hidden = false;
  }
}

async function refreshAlerts() {
  const { alerts } = await ask("/v1/alerts").catch(() => ({ alerts: [] }));
  const count = drawAlerts(byId("alertlist"), alerts, state.region);
  byId("alerts").hidden = !count;
  byId("alertcount").textContent = `· ${count} open`;
}

async function refreshNumbers(summary, horizon) {
  const base = `/v1/regions/${encodeURIComponent(state.region)}`;
  const [region, forecasts, errors, experiments] = await Promise.all([
    ask(base), ask(`${base}/forecasts?top=${MOST_CELLS}&horizon_min=${horizon}`), ask(`${base}/errors`).catch(() => null), ask(`${base}/experiments`).catch(() => null),
  ]);
  state.cell ??= new URLSearchParams(location.search).get("cell") ?? forecasts.forecasts[0]?.cell ?? null;
  let row = forecasts.forecasts.find((f) => f.cell === state.cell);
  if (!row && state.cell) row = (await ask(`${base}/forecasts?cell=${state.cell}&horizon_min=${horizon}`).catch(() => null))?.forecasts[0];
  state.track = state.cell ? await ask(`${base}/cells/${state.cell}/track?horizon_min=${horizon}&hours=${state.hours}`).catch(() => null) : null;
  const why = row ? await ask(`${base}/forecasts/${row.cell}/${forecasts.target}/${horizon}/explanation`).catch((trouble) => trouble) : null;
  state.size = summary.size;
  state.asked = `${state.region} ${horizon} ${state.cell} ${state.hours}`;
  state.forecasts = forecasts;
  showSource(region);
  showScores(region, errors?.bands ?? []);
  showExperiment(base, experiments?.experiments ?? []);
  showTabs(summary);
  showCell(row, forecasts, horizon);
  showReasons(why);
  showCells(forecasts);
  draw();
}

// --- display ---

function showRegions(regions) {
  const select = byId("regions");
  select.hidden = regions.length < 2;
  byId("region").hidden = !select.hidden;
  if (select.options.length !== regions.length) select.replaceChildren(...regions.map((r) => new Option(r.region, r.region)));
  select.value = state.region;
}

function showNow(s) {
  byId("region").textContent = s.region;
  document.title = `${s.region} · Ridecast`;
  const pill = byId("status");
  let [text, kind] = s.status === "not_bootstrapped" ? ["not bootstrapped", "warn"] : s.status === "waiting" ? ["waiting for rides", "warn"]
    : { live: ["live", "good"], late: ["late", "warn"], stale: ["stale", "bad"], replaying: ["replaying", "blue"] }[s.freshness];
  if (s.standing === "halted") [text, kind] = ["halted", "bad"];
  if (s.standing === "held") [text, kind] = [`${text}, without models`, kind === "good" ? "warn" : kind];
  pill.textContent = text;
  pill.title = {
    live: "Slots close as time passes.", late: "The close of a slot is overdue.", stale: "No slot closes: rides no longer arrive, or nothing runs.",
    replaying: "Old rides are processed faster than time passes.",
  }[s.freshness] ?? "";
  pill.className = `pill ${kind}`;
  if (s.status === "not_bootstrapped") { byId("clock").textContent = "No history yet"; byId("zone").textContent = `ridecast bootstrap --region ${s.region} --until DATE`; return; }
  const local = s.data_until_local ?? s.counted_from;
  const at = new Date(local.slice(0, 19) + "Z");
  const day = at.toLocaleDateString("en-GB", { weekday: "long", day: "numeric", month: "long", year: "numeric", timeZone: "UTC" });
  byId("clock").replaceChildren(local.slice(11, 16), element("small", "", day));
  byId("zone").textContent = `Local time in ${s.timezone.replace("_", " ")} at the end of the newest closed slot`;
  const facts = [
    ["rides in slot", s.slot_rides ?? "–"], ["slot", s.slot_status ?? "–"], ["age of data", s.age_s === null ? "–" : age(s.age_s)],
    ["slot length", `${s.slot_min} min`], ["pace", pace(s)], ["entries", s.size.toLocaleString("en")],
  ];
  byId("facts").replaceChildren(...facts.map(([name, value]) => element("div", "", element("dt", "", name), element("dd", "", String(value)))));
}

function pace(s) {
  if (s.slot === null) return "–";
  const now = performance.now();
  if (!state.seen.length || state.seen.at(-1).region !== s.region) state.seen = [];
  state.seen = [...state.seen.filter((one) => now - one.now < 30000), { now, slot: s.slot, region: s.region }];
  const first = state.seen[0], slots = s.slot - first.slot;
  if (!slots) return s.stale ? "stopped" : "real time";
  if (now - first.now < 3000) return "–";
  const rate = slots / (now - first.now) * 1000;
  return rate * s.slot_min * 60 > 1.5 ? `${Math.round(rate * s.slot_min * 60).toLocaleString("en")} × real time` : "real time";
}

function showSource(region) {
  const [newest] = region.source_news;
  const said = [];
  if (region.standing === "held") said.push(`Served by the baseline since slot ${region.standing_slot}: ${region.standing_reason}`);
  if (region.standing === "halted") said.push(`No slot closes from slot ${region.standing_slot} on: ${region.standing_reason}`);
  if (newest) said.push(`Ride log: ${newest.text}`);
  byId("source").hidden = !said.length;
  byId("source").textContent = said.join(". ");
}

// Busy cells first: the error over all cells is mostly that of cells with hardly a ride.
function showScores(region, bands) {
  const measured = bands.filter((b) => b.wape_median !== null), [first] = measured;
  const shown = first ? measured.filter((b) => b.band === first.band) : region.scores.filter((s) => s.measure === region.measures[0]);
  byId("scored").textContent = `· ${first ? `${first.cells.toLocaleString("en")} ${first.band} cells, ` : "all cells, "}last ${region.scored_hours} h`;
  const others = [...new Set(measured.map((b) => b.band))].slice(1).map((band) => measured.filter((b) => b.band === band));
  byId("others").replaceChildren(...others.map((rows) => element("div", "", `${rows[0].band} (${rows[0].cells.toLocaleString("en")}): `
    + rows.map((b) => `${b.wape_median.toFixed(2)} (${b.baseline_wape_median.toFixed(2)})`).join(", "))));
  const most = Math.max(...shown.flatMap((s) => [s.wape_median ?? 0, s.baseline_wape_median ?? 0]), 1e-9);
  const bar = (name, kind, value) => {
    const strip = document.createElement("i");
    strip.style.width = `${45 * value / most}%`;
    return element("div", `bar ${kind}`, strip, `${value.toFixed(3)} ${name}`);
  };
  const rows = shown.filter((s) => s.wape_median !== null).map((s) => {
    const gain = 1 - s.wape_median / s.baseline_wape_median;
    return element("div", "score", element("b", "", `${s.horizon_min} min`),
      element("div", "bars", bar("served", "", s.wape_median), bar("baseline", "base", s.baseline_wape_median)),
      element("div", `gain ${gain >= 0 ? "up" : "down"}`, `${gain >= 0 ? "−" : "+"}${Math.abs(100 * gain).toFixed(1)} %`, element("small", "", "vs. baseline")));
  });
  byId("horizons").replaceChildren(...(rows.length ? rows : [element("p", "quiet", "The first score is available when the first window has ended.")]));
}

// The one that runs, else the one that ended last; nothing in a region that never had one.
function showExperiment(base, experiments) {
  const one = experiments.find((e) => e.running) ?? experiments[0];
  byId("trial").hidden = !one;
  state.measuring = experiments.some((e) => e.result && !e.result.complete);
  if (!one) return;
  const day = (iso) => iso.slice(0, 16).replace("T", " ");
  byId("trialname").textContent = one.id;
  byId("trialstate").textContent = `· ${one.measure}, ${one.state}`;
  const share = `${(100 * one.share).toFixed(0)} %`, rest = `${(100 - 100 * one.share).toFixed(0)} %`;
  byId("arms").replaceChildren(...[
    ["A, champion", one.champion.slice(0, 12), `${rest} of the cells`], ["B, challenger", one.challenger.slice(0, 12), `${share} of the cells, in blocks of ${one.block_min} min`],
    ["since", day(one.from), "UTC"], ["until, at the latest", day(one.until), "UTC"],
  ].map(([name, value, more]) => element("div", "", element("dt", "", name), element("dd", "", value, element("small", "", more)))));
  const said = one.result?.sentence ?? "not measured";
  byId("trialsaid").textContent = `${said[0].toUpperCase()}${said.slice(1)}.`;
  byId("trialuntil").textContent = one.result && !one.result.complete && one.result.measured_until ? `Measured until ${day(one.result.measured_until)} UTC; the rest follows.` : "";
  byId("trials").href = `${base}/experiments`;
}

function showTabs(s) {
  tabs("horizon", s.horizons_min, (h) => `${h} min`, state.horizon, (h) => { state.horizon = h; });
  tabs("hours", [3, 6, 12, 24], (h) => `${h} h`, state.hours, (h) => { state.hours = h; });
}

function tabs(id, values, name, chosen, choose) {
  byId(id).replaceChildren(...values.map((value) => {
    const button = element("button", "", name(value));
    button.setAttribute("aria-pressed", String(value === chosen));
    button.onclick = () => { choose(value); refresh(); };
    return button;
  }));
}

function showCell(row, forecasts, horizon) {
  byId("cellname").textContent = state.cell ?? "–";
  byId("entry").href = `/v1/ledger/${forecasts.log}/entries/${forecasts.index}`;
  byId("entry").textContent = `Ledger entry ${forecasts.log} ${forecasts.index}`;
  const spread = forecasts.spread.find((s) => s.horizon_min === horizon);
  if (spread) byId("bandname").textContent = `${spread.lower_milli / 10}–${spread.upper_milli / 10} % band`;
  if (!row) { byId("next").replaceChildren(element("span", "quiet", "No forecast for this cell.")); byId("why").textContent = ""; return; }
  const h = row.horizons[0], at = forecasts.target_local.slice(11, 16);
  byId("next").replaceChildren(element("b", "", short(h.median)), `rides expected in the ${horizon} min from ${at} · between ${short(h.lower)} and ${short(h.upper)} · mean ${short(h.mean)}`);
  byId("why").textContent = `${row.why[0].toUpperCase()}${row.why.slice(1)}.${row.model ? ` Model ${row.model.slice(0, 12)}.` : ""}`;
}

function showReasons(why) {
  const told = why instanceof Error;
  byId("noreasons").hidden = !told;
  byId("noreasons").textContent = told ? why.message : "";
  byId("reasonstitle").hidden = !why;
  if (why && !told) drawReasons(byId("reasons"), why); else byId("reasons").replaceChildren();
}

function showCells(forecasts) {
  const listed = forecasts.forecasts.slice(0, LISTED), most = Math.max(...listed.map((f) => f.horizons[0].mean), 1e-9);
  byId("cells").replaceChildren(...listed.map((f, place) => {
    const meter = element("span", `meter ${f.fallback === "none" ? "" : "fallback"}`);
    meter.style.width = `${100 * f.horizons[0].mean / most}%`;
    const button = element("button", "", element("span", "rank", String(place + 1)), element("code", "", f.cell), element("span", "", meter), element("span", "amount", short(f.horizons[0].mean)));
    button.setAttribute("aria-current", String(f.cell === state.cell));
    button.title = f.why;
    button.onclick = () => choose(f.cell);
    return element("li", "", button);
  }));
  byId("more").textContent = `Mean rides in the next ${state.horizon} min; the busiest ${listed.length} of ${forecasts.cells.toLocaleString("en")} cells. Ochre: served without a model of its own; select a cell to see why.`;
}

function draw() {
  if (state.track) {
    const offset = Date.parse(state.forecasts.target_local.slice(0, 19) + "Z") - Date.parse(state.forecasts.target);
    const clock = (at) => new Date(at).toISOString().slice(11, 16);
    const points = state.track.points.map((p) => ({ ...p, at: Date.parse(p.target) + offset }));
    drawChart(byId("chart"), points, { clock, title: (at) => `${clock(at)} to ${clock(at + state.track.horizon_min * 60000)}` });
  } else byId("chart").replaceChildren();
  if (state.forecasts) {
    const cells = state.forecasts.forecasts.map((f) => ({ cell: f.cell, amount: f.horizons[0].mean }));
    state.cellAt = drawMap(byId("map"), cells, state.cell);
  }
}

function choose(cell) {
  state.cell = cell;
  history.replaceState(null, "", `?region=${encodeURIComponent(state.region)}&cell=${cell}`);
  refresh();
}

function age(s) {
  const [amount, unit] = s < 120 ? [s, "s"] : s < 7200 ? [Math.round(s / 60), "min"] : s < 172800 ? [Math.round(s / 3600), "h"]
    : s < 2 * 31557600 ? [Math.round(s / 86400), "days"] : [Math.round(s / 31557600), "years"];
  return `${amount} ${unit}`;
}

// --- events ---

byId("map").onclick = (event) => { const cell = state.cellAt(event.offsetX, event.offsetY); if (cell) choose(cell); };
byId("find").onchange = (event) => { const text = event.target.value.trim().toLowerCase(); if (text) choose(text); };
byId("regions").onchange = (event) => { Object.assign(state, { region: event.target.value, cell: null, horizon: null, size: -1, forecasts: null, track: null }); history.replaceState(null, "", `?region=${state.region}`); refresh(); };
addEventListener("resize", draw);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);

async function loop() {
  if (!document.hidden) await refresh();
  setTimeout(loop, REFRESH_MS);
}
loop();
