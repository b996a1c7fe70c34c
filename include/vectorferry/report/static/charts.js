/* Charts of the report and of the page in Airflow: each function takes plain data and gives an SVG element, or null where there is nothing to draw.

   `Plot` and `d3` are globals of vendor/plot.umd.min.js and vendor/d3.min.js, which are loaded first. Of the data everything is set as text.
   `options`: `width` in pixels (640), and `theme` "light" or "dark" for colours where the page sets none of the variables --vf-chart-*.
   An element has its name in `aria-label`; its texts take `currentColor`. No style element is left in it, so that `style-src 'self'` holds. */

const HEIGHT = 260;
const MOST_ROWS = 60; // of a list with a line each: more cannot be read, and the caller's table has them
const COLOURS = {
  light: { source: "#2b6cb0", target: "#b7791f", passed: "#2f855a", failed: "#c53030", muted: "#718096", third: "#6b46c1" },
  dark: { source: "#63b3ed", target: "#f6c05c", passed: "#68d391", failed: "#fc8181", muted: "#a0aec0", third: "#b794f4" },
};

const compact = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const short = (value) => compact.format(value);
const number = new Intl.NumberFormat("en", { maximumFractionDigits: 4 });
const milliseconds = (value) => `${number.format(Math.round(value * 100) / 100)} ms`;

function colours(options) {
  const base = COLOURS[options.theme === "dark" ? "dark" : "light"];
  return Object.fromEntries(Object.entries(base).map(([name, value]) => [name, `var(--vf-chart-${name}, ${value})`]));
}

const isNumber = (value) => typeof value === "number" && Number.isFinite(value);

/** The SVG of a plot, with what all charts have in common; `legend` is a list of [colour, text]. */
function drawn(label, plot, options, legend = []) {
  const width = Math.max(240, options.width ?? 640);
  const top = (plot.marginTop ?? 24) + (legend.length ? 24 : 0);
  const unit = plot.y?.unit ? [Plot.text([plot.y.unit], { frameAnchor: "top-left", textAnchor: "end", dx: -8, dy: -16, facetAnchor: "top-left", fill: "currentColor" })] : [];
  const svg = Plot.plot({ ...plot, marks: [...plot.marks, ...unit], width, height: (plot.height ?? HEIGHT) + (legend.length ? 24 : 0), marginTop: top, className: "vf-chart" });
  for (const style of svg.querySelectorAll("style")) style.remove();
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", label);
  svg.style.setProperty("--plot-background", "var(--vf-surface, Canvas)");
  svg.style.maxWidth = "100%";
  svg.style.height = "auto";
  svg.style.overflow = "visible";
  if (legend.length) svg.append(legendOf(legend));
  return svg;
}

function legendOf(entries) {
  const make = (name, attributes, parent) => {
    const made = parent.appendChild(document.createElementNS("http://www.w3.org/2000/svg", name));
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    return made;
  };
  const group = document.createElementNS("http://www.w3.org/2000/svg", "g");
  let left = 2;
  for (const [colour, text] of entries) {
    make("rect", { x: left, y: 4, width: 10, height: 10, rx: 2, fill: colour }, group);
    make("text", { x: left + 15, y: 13, fill: "currentColor", "font-size": 11, "text-anchor": "start" }, group).textContent = text;
    left += 34 + text.length * 6.2;
  }
  return group;
}

const axisX = (label, extra = {}) => ({ label, labelAnchor: "center", labelArrow: "none", ...extra });
const axisT = { type: "utc", label: null, tickFormat: (at) => (at.getUTCHours() || at.getUTCMinutes() ? at.toISOString().slice(11, 16) : at.toISOString().slice(5, 10)) };
// The unit is a mark of its own: an axis' label would lie under the legend.
const axisY = (unit, extra = {}) => ({ label: null, unit, grid: true, nice: true, ...extra });

/** Points of the page's history, each with its figures beside `at` and `scope`. */
function points(data) {
  const rows = Array.isArray(data) ? data : (data?.points ?? []);
  return rows
    .map((row) => ({ ...row, ...(row.figures ?? {}), at: new Date(row.at), scope: row.scope ?? "" }))
    .filter((row) => !Number.isNaN(row.at.valueOf()))
    .sort((a, b) => a.at - b.at);
}

const shortName = (name) => (name.length > 26 ? `${name.slice(0, 25)}…` : name);

/** Recall of namespaces with its interval against the threshold, worst first.
    data: [{namespace, recall, low, high, threshold, passed}]; what was not measured has no interval and is left out. */
export function recallIntervals(data, options = {}) {
  const every = (data ?? []).filter((row) => isNumber(row.low) && isNumber(row.recall)).sort((a, b) => a.low - b.low || a.recall - b.recall);
  if (!every.length) return null;
  const rows = every.slice(0, MOST_ROWS).map((row) => ({ ...row, name: row.namespace || "(default)" }));
  const colour = colours(options);
  const threshold = rows.find((row) => isNumber(row.threshold))?.threshold;
  const least = Math.min(...rows.map((row) => row.low), threshold ?? 1);
  const paint = (row) => (row.passed === false ? colour.failed : colour.passed);
  const told = (row) => `${row.name}: ${number.format(row.recall)} [${number.format(row.low)}, ${number.format(row.high)}]`;
  return drawn(
    `Recall by namespace with its interval${threshold === undefined ? "" : `, against the threshold ${threshold}`}; worst first`,
    {
      height: 62 + rows.length * 20, marginLeft: 170, marginBottom: 38,
      x: axisX("recall", { domain: [Math.max(0, least - (1 - least) * 0.15 - 0.005), 1], grid: true }),
      y: { domain: rows.map((row) => row.name), label: null, tickFormat: shortName },
      marks: [
        ...(threshold === undefined ? [] : [Plot.ruleX([threshold], { stroke: "currentColor", strokeDasharray: "4 3", strokeOpacity: 0.8 })]),
        Plot.ruleY(rows, { y: "name", x1: "low", x2: "high", stroke: paint, strokeWidth: 2 }),
        Plot.tickX(rows, { y: "name", x: "low", stroke: paint, inset: 5 }),
        Plot.tickX(rows, { y: "name", x: "high", stroke: paint, inset: 5 }),
        Plot.dot(rows, { y: "name", x: "recall", fill: paint, r: 4, title: told, tip: true }),
      ],
    },
    options,
    [[colour.passed, "reaches the threshold"], [colour.failed, "does not"], ...(threshold === undefined ? [] : [["currentColor", `threshold ${threshold} (dashed)`]])],
  );
}

/** Recall against search effort, a line for each k, with its interval. data: the figures of the check `effort`. */
export function effortCurve(data, options = {}) {
  const rows = (data?.curve ?? []).filter((row) => isNumber(row.effort) && isNumber(row.recall));
  if (!rows.length) return null;
  const colour = colours(options);
  const kinds = [...new Set(rows.map((row) => row.k))].sort((a, b) => a - b);
  const paint = (k) => [colour.source, colour.target, colour.third, colour.passed][kinds.indexOf(k) % 4];
  const told = (row) => `k ${row.k}, effort ${row.effort}: recall ${number.format(row.recall)}${isNumber(row.p50_ms) ? `, p50 ${milliseconds(row.p50_ms)}` : ""}${isNumber(row.p99_ms) ? `, p99 ${milliseconds(row.p99_ms)}` : ""}`;
  const marks = [];
  if (isNumber(data.threshold)) marks.push(Plot.ruleY([data.threshold], { stroke: "currentColor", strokeDasharray: "4 3" }));
  if (isNumber(data.used)) marks.push(Plot.ruleX([data.used], { stroke: colour.muted, strokeWidth: 2 }));
  if (isNumber(data.proposed)) marks.push(Plot.ruleX([data.proposed], { stroke: colour.passed, strokeWidth: 2, strokeDasharray: "2 3" }));
  marks.push(
    Plot.areaY(rows.filter((row) => isNumber(row.low)), { x: "effort", y1: "low", y2: "high", z: "k", fill: (row) => paint(row.k), fillOpacity: 0.15 }),
    Plot.lineY(rows, { x: "effort", y: "recall", z: "k", stroke: (row) => paint(row.k), strokeWidth: 2 }),
    Plot.dot(rows, { x: "effort", y: "recall", fill: (row) => paint(row.k), title: told, tip: true }),
  );
  const low = Math.min(...rows.map((row) => (isNumber(row.low) ? row.low : row.recall)), isNumber(data.threshold) ? data.threshold : 1);
  const efforts = [...new Set(rows.map((row) => row.effort))].sort((a, b) => a - b);
  const legend = [...kinds.map((k) => [paint(k), `k = ${k}`])];
  if (isNumber(data.threshold)) legend.push(["currentColor", `threshold ${data.threshold}`]);
  if (isNumber(data.used)) legend.push([colour.muted, `in use: ${data.used}`]);
  if (isNumber(data.proposed)) legend.push([colour.passed, `proposed: ${data.proposed}`]);
  return drawn(
    "Recall against search effort",
    {
      marginBottom: 40, marginLeft: 52,
      x: axisX("search effort", { type: efforts[0] > 0 && efforts.length > 1 ? "log" : "linear", ticks: efforts.slice(0, 12), tickFormat: (value) => number.format(value) }),
      y: axisY("recall", { domain: [Math.max(0, low - 0.02), 1], nice: false }),
      marks,
    },
    options,
    legend,
  );
}

/** Latency of both sides over time. data: [{at, scope: source|target, p50_ms, p99_ms}] or {points}; options.budgets: {p50_ms, p99_ms}. */
export function latencyOverTime(data, options = {}) {
  const colour = colours(options);
  const rows = points(data).flatMap((row) =>
    ["p50_ms", "p99_ms"].filter((name) => isNumber(row[name])).map((name) => ({ at: row.at, side: row.scope, name: name.slice(0, 3), value: row[name] })),
  );
  if (!rows.length) return null;
  const paint = (row) => (row.side === "source" ? colour.source : colour.target);
  const budgets = Object.entries(options.budgets ?? {}).filter(([, value]) => isNumber(value));
  const sides = [...new Set(rows.map((row) => row.side))].sort();
  return drawn(
    `Latency over time of ${sides.join(" and ")}, p50 and p99 in milliseconds`,
    {
      marginBottom: 40, marginLeft: 56,
      x: axisT,
      y: axisY("ms", { zero: true }),
      marks: [
        ...budgets.map(([, value]) => Plot.ruleY([value], { stroke: colour.failed, strokeDasharray: "4 3" })),
        ...["p50", "p99"].map((name) =>
          Plot.lineY(rows.filter((row) => row.name === name), { x: "at", y: "value", z: "side", stroke: paint, strokeWidth: name === "p99" ? 2 : 1.5, strokeDasharray: name === "p50" ? "3 3" : null }),
        ),
        Plot.dot(rows, { x: "at", y: "value", fill: paint, r: rows.length > 400 ? 1 : 2.5, title: (row) => `${row.side} ${row.name} ${milliseconds(row.value)}\n${row.at.toISOString()}`, tip: true }),
      ],
    },
    options,
    [...sides.map((side) => [side === "source" ? colour.source : colour.target, `${side}: p50 dashed, p99 solid`]), ...(budgets.length ? [[colour.failed, "budget (dashed)"]] : [])],
  );
}

/** Percentiles of one measurement of both sides. data: the figures of the check `latency`. */
export function latencyBars(data, options = {}) {
  const colour = colours(options);
  const names = ["p50", "p95", "p99", "max"];
  const rows = ["source", "target"].flatMap((side) =>
    names.filter((name) => isNumber(data?.[side]?.[`${name}_ms`])).map((name) => ({ side, name, value: data[side][`${name}_ms`] })),
  );
  if (!rows.length) return null;
  const sides = [...new Set(rows.map((row) => row.side))];
  const budgets = names.map((name) => ({ name, value: data[`max_${name}_ms`] })).filter((row) => isNumber(row.value));
  return drawn(
    `Latency of ${sides.join(" and ")}: p50, p95, p99 and the longest, in milliseconds`,
    {
      marginBottom: 34, marginLeft: 56,
      fx: { domain: names, label: null },
      x: { domain: sides, axis: null },
      y: axisY("ms", { zero: true }),
      marks: [
        Plot.barY(rows, { fx: "name", x: "side", y: "value", fill: (row) => (row.side === "source" ? colour.source : colour.target), title: (row) => `${row.side} ${row.name}: ${milliseconds(row.value)}`, tip: true }),
        Plot.text(rows, { fx: "name", x: "side", y: "value", text: (row) => number.format(Number(row.value.toPrecision(3))), dy: -7, fill: "currentColor" }),
        Plot.ruleY(budgets, { fx: "name", y: "value", stroke: colour.failed, strokeWidth: 2, strokeDasharray: "4 3" }),
        Plot.ruleY([0], { stroke: "currentColor" }),
      ],
    },
    options,
    [...sides.map((side) => [side === "source" ? colour.source : colour.target, side]), ...(budgets.length ? [[colour.failed, "allowed"]] : [])],
  );
}

/** Rows of each partition on both sides. data: [{partition, source, staged, target, excused, passed}], in the plan's order; source may be null. */
export function balance(data, options = {}) {
  const rows = (data ?? []).filter((row) => isNumber(row.target) || isNumber(row.staged)).map((row, place) => ({ ...row, place }));
  if (!rows.length) return null;
  const colour = colours(options);
  const paint = (row) => (row.passed === false ? colour.failed : colour.passed);
  const given = (value) => (isNumber(value) ? number.format(value) : "not counted");
  const told = (row) => `${row.partition}: source ${given(row.source)}, staged ${given(row.staged)}, target ${given(row.target)}, excused ${given(row.excused ?? 0)}`;
  const few = rows.length <= 24;
  return drawn(
    `Rows of ${rows.length} partitions: in the target, and as the source has them`,
    {
      marginBottom: 40, marginLeft: 64,
      x: few
        ? { type: "band", domain: rows.map((row) => row.place), label: null, tickFormat: (place) => rows[place].partition, tickRotate: rows.length > 10 ? -45 : 0 }
        : axisX("partitions, in the plan's order", { domain: [-0.5, rows.length - 0.5] }),
      y: axisY("rows", { tickFormat: short }),
      marks: few
        ? [
            Plot.barY(rows, { x: "place", y: (row) => (row.target ?? 0) + (row.excused ?? 0), fill: paint, fillOpacity: 0.75, inset: 1, title: told, tip: true }),
            Plot.tickY(rows.filter((row) => isNumber(row.source ?? row.staged)), { x: "place", y: (row) => row.source ?? row.staged, stroke: "currentColor", strokeWidth: 2 }),
            Plot.ruleY([0], { stroke: "currentColor" }),
          ]
        : [
            Plot.rectY(rows, { x1: (row) => row.place - 0.5, x2: (row) => row.place + 0.5, y: (row) => (row.target ?? 0) + (row.excused ?? 0), fill: paint, fillOpacity: 0.75 }),
            Plot.dot(rows.filter((row) => row.passed === false), { x: "place", y: (row) => row.source ?? row.staged, fill: colour.failed, r: 3 }),
            Plot.tip(rows, Plot.pointerX({ x: "place", y: (row) => row.target ?? 0, title: told })),
            Plot.ruleY([0], { stroke: "currentColor" }),
          ],
    },
    options,
    [[colour.passed, "target and excused"], [colour.failed, "does not balance"], ...(few ? [["currentColor", "source (line)"]] : [])],
  );
}

/** Records that the follower may lack, over time. data: [{at, scope: cohort, dirty, open, rejected}] or {points}. */
export function backlogOverTime(data, options = {}) {
  const colour = colours(options);
  const kinds = { dirty: colour.target, open: colour.source, rejected: colour.failed };
  const sums = new Map();
  for (const row of points(data)) {
    for (const kind of Object.keys(kinds)) {
      if (!isNumber(row[kind])) continue;
      const key = `${kind} ${row.at.toISOString()}`;
      const known = sums.get(key) ?? { at: row.at, kind, value: 0 };
      known.value += row[kind];
      sums.set(key, known);
    }
  }
  const rows = [...sums.values()];
  if (!rows.length) return null;
  return drawn(
    "Dirty, open and rejected records over time, of all cohorts",
    {
      marginBottom: 40, marginLeft: 56,
      x: axisT,
      y: axisY("records", { zero: true, tickFormat: short }),
      marks: [
        Plot.lineY(rows, { x: "at", y: "value", z: "kind", stroke: (row) => kinds[row.kind], strokeWidth: 2, curve: "step-after" }),
        Plot.dot(rows, { x: "at", y: "value", fill: (row) => kinds[row.kind], r: rows.length > 400 ? 1 : 2.5, title: (row) => `${number.format(row.value)} ${row.kind}\n${row.at.toISOString()}`, tip: true }),
        Plot.ruleY([0], { stroke: "currentColor" }),
      ],
    },
    options,
    Object.entries(kinds).map(([kind, paint]) => [paint, kind]),
  );
}

/** Records that differed, by reconciliation. data: [{at, scope, outcome, repairs}] or {points}. */
export function driftOverTime(data, options = {}) {
  const colour = colours(options);
  const rows = points(data).map((row) => ({ ...row, repairs: isNumber(row.repairs) ? row.repairs : 0 }));
  if (!rows.length) return null;
  const paint = (row) => (row.outcome === "equal" ? colour.passed : row.outcome === "drift" ? colour.target : row.outcome === "refused" ? colour.failed : colour.muted);
  return drawn(
    "Records that drifted, by reconciliation",
    {
      marginBottom: 40, marginLeft: 56,
      x: axisT,
      y: axisY("records", { zero: true, tickFormat: short }),
      marks: [
        Plot.ruleX(rows, { x: "at", y: "repairs", stroke: paint, strokeWidth: 2 }),
        Plot.dot(rows, { x: "at", y: "repairs", fill: paint, r: 4, title: (row) => `${row.outcome ?? "running"}${row.scope ? ` (${row.scope})` : ""}: ${number.format(row.repairs)} records\n${row.at.toISOString()}`, tip: true }),
        Plot.ruleY([0], { stroke: "currentColor" }),
      ],
    },
    options,
    [[colour.passed, "equal"], [colour.target, "drift"], [colour.failed, "refused"], [colour.muted, "paused or running"]],
  );
}

/** Latency and errors by the rate that was sent, to the breaking point. data: the figures of the check `load`. */
export function loadCurve(data, options = {}) {
  const steps = (data?.steps ?? []).filter((row) => isNumber(row.rate));
  if (!steps.length) return null;
  const colour = colours(options);
  const rows = steps.flatMap((row) => ["p50", "p95", "p99"].filter((name) => isNumber(row[`${name}_ms`])).map((name) => ({ ...row, name, value: row[`${name}_ms`] })));
  const paint = { p50: colour.passed, p95: colour.source, p99: colour.target };
  const told = (row) => `${number.format(row.rate)} requests/s: ${row.name} ${milliseconds(row.value)}, ${number.format(row.errors ?? 0)} errors of ${number.format(row.sent ?? 0)}${row.client_saturated ? "; this client could not send faster" : ""}`;
  const marked = [];
  if (isNumber(data.declared_peak)) marked.push(Plot.ruleX([data.declared_peak], { stroke: colour.muted, strokeWidth: 2, strokeDasharray: "2 3" }));
  if (isNumber(data.breaking_point)) marked.push(Plot.ruleX([data.breaking_point], { stroke: colour.failed, strokeWidth: 2 }));
  const failing = rows.filter((row) => row.name === "p99" && (row.errors ?? 0) > 0);
  const legend = Object.entries(paint).map(([name, each]) => [each, name]);
  if (isNumber(data.declared_peak)) legend.push([colour.muted, `declared peak ${number.format(data.declared_peak)}/s`]);
  if (isNumber(data.breaking_point)) legend.push([colour.failed, `breaking point ${number.format(data.breaking_point)}/s`]);
  if (failing.length) legend.push([colour.failed, "with errors (ring)"]);
  return drawn(
    "Latency by the rate of requests, to the breaking point",
    {
      marginBottom: 40, marginLeft: 60,
      x: axisX("requests a second"),
      y: axisY("ms", { type: "log", nice: false, ticks: 5, tickSize: 0, tickFormat: (value) => number.format(value) }),
      marks: [
        ...marked,
        Plot.lineY(rows.filter((row) => row.value > 0), { x: "rate", y: "value", z: "name", stroke: (row) => paint[row.name], strokeWidth: 2 }),
        Plot.dot(rows.filter((row) => row.value > 0), { x: "rate", y: "value", fill: (row) => paint[row.name], r: 3, title: told, tip: true }),
        Plot.dot(failing.filter((row) => row.value > 0), { x: "rate", y: "value", stroke: colour.failed, strokeWidth: 2, r: 7 }),
      ],
    },
    options,
    legend,
  );
}

/** How many staged records each filter matches, and whether both sides returned these. data: [{filter, matched, passed, differences}]; failed first. */
export function filterParity(data, options = {}) {
  const every = (data ?? []).filter((row) => isNumber(row.matched)).sort((a, b) => Number(a.passed !== false) - Number(b.passed !== false) || b.matched - a.matched);
  if (!every.length) return null;
  const colour = colours(options);
  const rows = every.slice(0, MOST_ROWS).map((row, place) => ({ ...row, place }));
  const paint = (row) => (row.passed === false ? colour.failed : colour.passed);
  const told = (row) => `${row.filter}\n${number.format(row.matched)} records match${row.differences ? `; ${number.format(row.differences)} differences` : ""}`;
  return drawn(
    "Records that match each filter, and whether both sides return them",
    {
      height: 62 + rows.length * 20, marginLeft: 230, marginBottom: 38,
      x: axisX("matching records", { grid: true, zero: true, nice: true, tickFormat: short }),
      y: { type: "band", domain: rows.map((row) => row.place), label: null, tickFormat: (place) => (rows[place].filter.length > 36 ? `${rows[place].filter.slice(0, 35)}…` : rows[place].filter) },
      marks: [
        Plot.barX(rows, { y: "place", x: "matched", fill: paint, fillOpacity: 0.8, inset: 2, title: told, tip: true }),
        Plot.dot(rows.filter((row) => row.passed === false), { y: "place", x: "matched", symbol: "times", stroke: colour.failed, strokeWidth: 2, r: 5 }),
        Plot.ruleX([0], { stroke: "currentColor" }),
      ],
    },
    options,
    [[colour.passed, "the same ids"], [colour.failed, "other ids, or refused"]],
  );
}

/** nDCG and MRR of both sides with intervals, by a team's own judgements. data: the figures of the check `relevance`. */
export function relevance(data, options = {}) {
  const colour = colours(options);
  const rows = ["source", "target"].flatMap((side) =>
    ["ndcg", "mrr"].filter((name) => isNumber(data?.[side]?.[name])).map((name) => ({
      side, name: name === "ndcg" ? `nDCG@${data.k ?? "k"}` : "MRR", value: data[side][name], low: data[side][`${name}_low`] ?? data[side][name], high: data[side][`${name}_high`] ?? data[side][name],
    })),
  );
  if (!rows.length) return null;
  const paint = (row) => (row.side === "source" ? colour.source : colour.target);
  return drawn(
    "Relevance by judgements of both sides, with intervals",
    {
      height: 170, marginLeft: 70, marginBottom: 38,
      x: axisX("score", { domain: [0, 1], grid: true }),
      y: { domain: ["source", "target"], axis: null }, fy: { label: null, axis: "left" },
      marks: [
        Plot.ruleY(rows, { fy: "name", y: "side", x1: "low", x2: "high", stroke: paint, strokeWidth: 2 }),
        Plot.dot(rows, { fy: "name", y: "side", x: "value", fill: paint, r: 4, title: (row) => `${row.side} ${row.name}: ${number.format(row.value)} [${number.format(row.low)}, ${number.format(row.high)}]`, tip: true }),
      ],
    },
    options,
    [[colour.source, "source"], [colour.target, "target"]],
  );
}


/** How many records drifted in which way. data: the figures of the check `drift`. */
export function driftKinds(data, options = {}) {
  const rows = Object.entries(data?.kinds ?? {}).map(([kind, records]) => ({ kind, records })).filter((row) => row.records > 0);
  if (!rows.length) return null;
  const colour = colours(options);
  return drawn(
    "Records that drifted, by kind",
    {
      height: 62 + rows.length * 26, marginLeft: 100, marginBottom: 38,
      x: axisX("records", { grid: true, zero: true, nice: true, tickFormat: short }),
      y: { label: null },
      marks: [
        Plot.barX(rows, { y: "kind", x: "records", fill: colour.target, inset: 3, title: (row) => `${number.format(row.records)} ${row.kind}`, tip: true }),
        Plot.ruleX([0], { stroke: "currentColor" }),
      ],
    },
    options,
  );
}
