// Findings: what is worst in a piece of evidence, where it is, why it probably is, and what to do; said before anything else.

import { h } from "./dom.js";
import { count, many, moment, named, scoped, words } from "./format.js";
import { badge, nothing, outside, verdictBadge } from "./parts.js";

const SHOWN = 5;
const MOST = 200;

/** The worst findings of the evidence that is looked at. */
export function worstFindings(listed, found) {
  const { body = {}, worst = [] } = found;
  const go = body.go ?? listed.go;
  const against = body.against ?? [];
  const total = body.against_total ?? against.length;
  return [
    h("p", null, verdictBadge(go), " ", about(listed.kind), " evidence of run ", named(listed.run), ", collected ", moment(listed.at ?? body.collected_at), found.report && [" · ", outside(found.report, "Whole report")]),
    worst.length > 0
      ? h("ol", { class: "findings" }, worst.map((each, place) => finding(each, place, verdictOf(body, each), found.report)))
      : nothing(go === false ? "No single check failed: what is missing is named below." : "No check failed."),
    go === false && against.length > 0 && h(
      "details", { open: worst.length === 0 }, h("summary", null, `All that the gate holds against it (${count(total)})`),
      everything(body, against, total),
    ),
  ];
}

/** What the gate names, which are the first few, and every failed verdict that it left out. */
function everything(body, against, total) {
  const told = (each) => `${each.check} of ${each.scope}:`;
  const more = (body.verdicts ?? []).filter((each) => !each.passed && !against.some((text) => text.startsWith(told(each)))).slice(0, MOST);
  const left = total - against.length - more.length;
  return h(
    "ul", null, against.map((text, place) => h("li", { key: place }, h("bdi", null, text))),
    more.map((each) => h("li", { key: `${each.check} ${each.scope}` }, words(each.check), " of ", scoped(each.scope), ": ", h("bdi", null, each.reason || "failed"),
      each.differences?.length > 0 && ["; first: ", difference(each.differences[0])])),
    left > 0 && h("li", { class: "muted", key: "more" }, `and ${count(left)} more, in the report`),
  );
}

/** The kind of evidence in words. */
export function about(kind) {
  return kind === "cutover" ? "cut-over" : words(kind);
}

function verdictOf(body, { check, scope }) {
  return (body.verdicts ?? []).find((each) => each.check === check && each.scope === scope);
}

function finding({ check, scope, reason, cause, advice, anchor }, place, verdict, report) {
  const shown = verdict?.differences ?? [];
  const namespaces = [...new Set(shown.map((each) => each.namespace))];
  const known = String(scope).startsWith("namespace:");
  return h(
    "li", { key: `${place} ${check} ${scope}` },
    h("h3", null, badge("bad", words(check)), " ", scoped(scope),
      !known && namespaces.length > 0 && [" in ", namespaces.length > 1 ? "namespaces " : "namespace ", namespaces.map((each, n) => [n ? ", " : "", named(each)])]),
    h("p", { class: "reason" }, h("bdi", null, reason || "failed")),
    shown.length > 0 && h("p", { class: "ids" }, `${many(verdict.total_differences, "difference")}, such as `, shown.slice(0, SHOWN).map((each, n) => [n ? ", " : "", difference(each)])),
    h(
      "dl", null,
      cause && h("div", null, h("dt", null, "Likely cause"), h("dd", null, spelt(cause))),
      advice && h("div", null, h("dt", null, "What to do"), h("dd", null, spelt(advice))),
    ),
    report && h("p", null, outside(`${report}#diagnosing-${anchor}`, "This symptom in the report")),
  );
}

function difference({ namespace, id, kind, field, source, target }) {
  return h("span", { class: "difference" }, named(namespace), " / ", h("bdi", { class: "id" }, id), ` ${words(kind)} `, field && field !== kind && h("bdi", null, field),
    (source || target) && [" (", h("bdi", null, source || "–"), " ≠ ", h("bdi", null, target || "–"), ")"]);
}

/** Our own text, in which `commands` stand between backticks. */
function spelt(text) {
  return String(text).split("`").map((part, place) => (place % 2 ? h("code", null, part) : part));
}
