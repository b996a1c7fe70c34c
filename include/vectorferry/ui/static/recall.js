// Recall: every namespace with its interval against the threshold, worst first, and what a higher effort would cost.

import { effortCurve, recallIntervals } from "./charts.js";
import { h } from "./dom.js";
import { count, many, milliseconds, named, plain, share, words } from "./format.js";
import { badge, chart, facts, nothing, table } from "./parts.js";

const DRAWN = 20;
const FIRST = 25;

/** The list of namespaces; it keeps what is searched for, and how many are shown. */
export class RecallList {
  constructor() {
    this.text = "";
    this.most = FIRST;
  }

  render(namespaces, changed) {
    if (!namespaces?.length) return nothing("Recall was not measured in this evidence.");
    const sorted = [...namespaces].sort((a, b) => Number(a.passed) - Number(b.passed) || (a.low ?? 2) - (b.low ?? 2));
    const text = this.text.toLowerCase();
    const found = sorted.filter((each) => (each.namespace || "(default)").toLowerCase().includes(text));
    const failed = sorted.filter((each) => !each.passed);
    const drawn = found.slice(0, DRAWN);
    return [
      h("p", null, failed.length
        ? [h("span", { class: "failed" }, `${count(failed.length)} of ${many(namespaces.length, "namespace")} failed`), ": ", listed(failed)]
        : `All ${many(namespaces.length, "namespace")} reach the threshold, or hold nothing to search.`,
      " The bar is the interval in which recall lies; its lower end must reach the threshold."),
      namespaces.length > 10 && h(
        "div", { class: "filters" }, h("label", { for: "find-namespace" }, "Find a namespace"),
        h("input", { id: "find-namespace", type: "search", oninput: (event) => { this.text = event.target.value; this.most = FIRST; changed(); } }),
        h("span", { class: "muted", role: "status" }, `${count(found.length)} of ${count(namespaces.length)}`),
      ),
      chart(recallIntervals, drawn, `Recall of ${many(drawn.length, "namespace")} with intervals; the table below has the figures`),
      found.length > DRAWN && h("p", { class: "muted" }, `The ${DRAWN} worst are drawn.`),
      table(
        "Recall by namespace, worst first",
        [["Namespace", "wide"], ["Recall", "figure"], ["Interval", "figure"], ["Threshold", "figure"], ["Verdict"], ["Why", "wide"]],
        found.slice(0, this.most).map((each) => ({
          key: each.namespace,
          cells: [
            named(each.namespace), share(each.recall), typeof each.low === "number" ? `${share(each.low)} to ${share(each.high)}` : "–",
            plain(each.threshold), each.passed ? badge("good", "passed") : badge("bad", "failed"), h("bdi", null, each.reason || ""),
          ],
        })),
        "No namespace is called like this.",
      ),
      found.length > this.most && h("p", null, h(
        "button", { type: "button", onclick: () => { this.most = Infinity; changed(); } }, `Show all ${count(found.length)}`,
      )),
    ];
  }
}

function listed(failed) {
  const first = failed.slice(0, 5).map((each, place) => [place ? ", " : "", named(each.namespace)]);
  return [first, failed.length > 5 ? ` and ${count(failed.length - 5)} more` : "", "."];
}

/** Recall of each kind of query by each vector, where the verdict tells it, and the vectors that were not measured. */
export function byKind(figures) {
  const vectors = Object.entries(figures?.by_vector ?? {});
  const parts = vectors.length ? vectors.map(([vector, each]) => ofKinds(each.by_kind, vector)) : [ofKinds(figures?.by_kind)];
  return [...parts, notMeasured([...(figures?.not_measured ?? []), ...(figures?.not_searched ?? [])])];
}

function notMeasured(vectors) {
  return vectors?.length ? facts(["Vectors not measured", vectors.join(", ")]) : null;
}

function ofKinds(found, vector) {
  const kinds = Object.entries(found ?? {});
  if (!kinds.length) return null;
  return [h("h3", null, "By kind of query", vector && [", ", h("bdi", null, vector)]), table(
    "Recall by kind of query", [["Kind"], ["Queries", "figure"], ["Recall", "figure"], ["Interval", "figure"]],
    kinds.map(([kind, each]) => ({
      key: kind, cells: [words(kind), count(each.queries), share(each.recall), `${share(each.low)} to ${share(each.high)}`],
    })),
  )];
}

/** Recall against search effort, with what each step costs. */
export function effort(figures) {
  if (!figures) return null;
  if (!figures.curve?.length) return [h("h3", null, "Against search effort"), nothing(figures.reason || "No effort was tried."), notMeasured(figures.not_measured)];
  return [
    h("h3", null, "Against search effort"),
    facts(
      ["Effort in use", figures.used ?? "the database's own default"],
      ["Cheapest that reaches the threshold", figures.proposed === null || figures.proposed === undefined ? "none that was tried" : plain(figures.proposed)],
      figures.not_measured?.length ? ["Measured by", figures.vector] : null,
      figures.reason ? ["Why", figures.reason] : null,
    ),
    chart(effortCurve, figures, "Recall against search effort; the table below has the figures"),
    h("details", null, h("summary", null, "Figures"), table(
      "Recall and latency by effort", [["k", "figure"], ["Effort", "figure"], ["Recall", "figure"], ["Interval", "figure"], ["p50", "figure"], ["p99", "figure"]],
      figures.curve.map((each) => ({
        key: `${each.k} ${each.effort}`,
        cells: [plain(each.k), plain(each.effort), share(each.recall), `${share(each.low)} to ${share(each.high)}`, milliseconds(each.p50_ms), milliseconds(each.p99_ms)],
      })),
    )),
  ];
}
