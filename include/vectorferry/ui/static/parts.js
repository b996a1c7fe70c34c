// Small parts that several views show in the same way.

import { h } from "./dom.js";
import { address } from "./airflow.js";
import { duration, moment, named } from "./format.js";

export const PHASES = ["OFF", "TRACK_A", "HOLD_A", "HOLD_B", "TRACK_B", "DONE"];
const MEANING = {
  OFF: "Not begun: the source alone is used",
  TRACK_A: "The source serves; writes are tracked and the target is filled",
  HOLD_A: "Writes wait while the target catches up",
  HOLD_B: "Writes wait while reads already go to the target",
  TRACK_B: "The target serves; rollback is possible",
  DONE: "Finished: the target alone is used",
};

/** A link out of the page: to Airflow, or to a report. */
export function outside(url, ...text) {
  const href = address(url);
  return href ? h("a", { href, "data-outside": true }, ...text) : text;
}

/** A word in a coloured frame, with a sign that needs no colour. */
export function badge(kind, ...text) {
  const sign = { good: "✓", bad: "✕", warn: "!", busy: "▸", info: "" }[kind];
  return h("span", { class: `badge ${kind}` }, sign && h("span", { "aria-hidden": "true" }, `${sign} `), ...text);
}

/** GO, NO-GO, or that nothing was judged yet. */
export function verdictBadge(go) {
  if (go === true) return badge("good", "GO");
  if (go === false) return badge("bad", "NO-GO");
  return badge("info", "not judged yet");
}

/** The chain of phases with where it is. */
export function phaseChain(phase, label) {
  const at = PHASES.indexOf(phase);
  return h(
    "ol", { class: "chain", "aria-label": `${label}: ${phase ?? "not begun"}` },
    PHASES.map((each, place) => h(
      "li",
      {
        key: each,
        class: place < at ? "past" : place === at ? `here ${each.startsWith("HOLD") ? "hold" : ""}`.trim() : "ahead",
        "aria-current": place === at ? "step" : null,
        title: MEANING[each],
      },
      each,
    )),
  );
}

/** What a phase means, in a sentence. */
export function meaning(phase) {
  return MEANING[phase] ?? "Not begun";
}

/** Done of all, as a bar and in words. */
export function bar(label, done, all, more) {
  const text = `${(done ?? 0).toLocaleString("en")} of ${(all ?? 0).toLocaleString("en")}`;
  return h(
    "div", { class: "bar" },
    h("span", { class: "label" }, label),
    h("progress", { max: Math.max(all ?? 0, 1), value: done ?? 0, "aria-label": `${label}: ${text}` }),
    h("span", { class: "muted" }, text, more),
  );
}

/** A table: `columns` are [heading, class]; each row is {key, cells, class}. The first cell heads its row. */
export function table(caption, columns, rows, empty) {
  if (!rows.length) return nothing(empty);
  return h(
    "div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    h(
      "table", null,
      h("caption", { class: "hidden" }, caption),
      h("thead", null, h("tr", null, columns.map(([name, kind]) => h("th", { scope: "col", class: kind }, name)))),
      h("tbody", null, rows.map(({ key, cells, class: kind }) => h(
        "tr", { key, class: kind },
        cells.map((cell, place) => h(
          place ? "td" : "th", { scope: place ? null : "row", class: columns[place][1] }, cell,
        )),
      ))),
    ),
  );
}

/** What stands where there is nothing to show, and when there will be. */
export function nothing(text) {
  return h("p", { class: "empty" }, text);
}

/** Pairs of a name and what it is. */
export function facts(...pairs) {
  return h("dl", { class: "facts" }, pairs.filter(Boolean).map(([name, ...value]) => h(
    "div", { key: name }, h("dt", null, name), h("dd", null, ...value),
  )));
}

/** A section of a page, with its heading. `id` is the last part of its address. */
export function section(id, title, ...content) {
  return h(
    "section", { key: id, id: `at-${id}`, "aria-labelledby": `title-${id}` },
    h("h2", { id: `title-${id}`, tabindex: "-1" }, title), ...content,
  );
}

/** A chart, drawn once it has its width; `told` is what it shows, for who does not see it. */
export function chart(draw, data, told, options = {}) {
  return h("div", { class: "chart", role: "img", "aria-label": told, chart: { draw, data, options } });
}

/** What waits for a person. */
export function pendingNote(pending) {
  if (!pending) return null;
  return h(
    "p", { class: "note ask" },
    badge("busy", "waits for a person"), " ",
    outside(pending.url, `Answer the question${pending.kind ? ` about ${pending.kind === "cutover" ? "the cut-over" : pending.kind.replaceAll("_", " ")}` : ""}`),
    " asked ", moment(pending.asked_at), " · ", outside("approving", "What each line of it means"),
  );
}

/** What stands in the way of the next step: the most important text of all. */
export function inTheWay(one, level) {
  const here = [...(one.problem ? [one.problem] : []), ...(one.in_the_way ?? [])];
  return h(
    "div", { class: here.length ? "way blocked" : "way clear" },
    h(level, null, here.length ? "In the way of the next step" : "Nothing is in the way of the next step"),
    here.length > 0 && h("ul", null, here.map((line, place) => h("li", { key: place }, h("bdi", null, String(line))))),
  );
}

/** A duration, or that there is none. */
export function aged(seconds, none) {
  return typeof seconds === "number" ? `${duration(seconds)} old` : h("span", { class: "muted" }, none);
}

/** From here, to there. */
export function route(source, target) {
  return h("p", { class: "muted route" }, named(source), h("span", { "aria-label": "to" }, " → "), named(target));
}
