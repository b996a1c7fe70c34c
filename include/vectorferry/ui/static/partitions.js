// Map of partitions: a small button each, by state and verdict, walked with the arrow keys; beside it what the chosen one is.

import { h } from "./dom.js";
import { count, many, named, words } from "./format.js";
import { facts, nothing } from "./parts.js";

// What a cell is, in the order of the legend: the first that holds. The sign tells what the colour does.
const KINDS = [
  ["failed-check", "check failed", "✕", (each) => each.verdict === "failed"],
  ["failed", "step failed", "!", (each) => each.state === "failed"],
  ["waiting", "waiting for room", "…", (each) => each.state === "waiting"],
  ["passed", "own checks passed", "✓", (each) => each.verdict === "passed"],
  ["loaded", "loaded, not checked", "■", (each) => each.state === "loaded"],
  ["loading", "loading", "▾", (each) => each.state === "loading"],
  ["exported", "exported", "▪", (each) => each.state === "exported"],
  ["exporting", "exporting", "▴", (each) => each.state === "exporting"],
  ["planned", "planned", "·", () => true],
];
// A check of its namespace or of everything may fail all the same: the findings tell that.
const VERDICTS = { none: "not judged yet", passed: "own checks passed; those of its namespaces and of everything are among the findings" };
const FAILED = ["failed-check", "failed"];
const kindOf = (each) => KINDS.find(([, , , holds]) => holds(each));

/** What is told until the reader has chosen: the first whose check failed, else the first whose step did. */
function worst(told) {
  return FAILED.map((wanted) => told.find(([, [kind]]) => kind === wanted)?.[0]).find(Boolean);
}

/** The map; it keeps which cell is chosen and what is left out. */
export class PartitionMap {
  constructor() {
    this.chosen = null;
    this.kinds = new Set();
    this.text = "";
  }

  render(partitions, changed) {
    if (!partitions) return nothing("Reading the partitions …");
    if (!partitions.length) return nothing("No plan yet: the collection is cut into partitions when its run has looked at both sides.");
    const told = partitions.map((each) => [each, kindOf(each)]);
    const shown = told.filter(([each, [kind]]) => (!this.kinds.size || this.kinds.has(kind)) && this.#matches(each));
    const chosen = partitions.find((each) => each.name === this.chosen) ?? worst(told);
    const active = shown.find(([each]) => each === chosen)?.[0] ?? shown[0]?.[0];
    return [
      this.#filters(told, shown.length, changed),
      h(
        "div", { class: "beside" },
        h(
          "div", {
            class: "map", role: "group", "aria-label": "Partitions; the arrow keys walk through them",
            onkeydown: (event) => this.#walk(event),
          },
          shown.map(([each, [kind, label, sign]]) => this.#cell(each, { kind, label, sign, active: each === active, chosen: each === chosen }, changed)),
          !shown.length && nothing("No partition is like this."),
        ),
        h("div", { class: "chosen" }, this.#details(chosen)),
      ),
    ];
  }

  #matches(each) {
    const text = this.text.toLowerCase();
    return !text || [each.name, each.label, each.cohort, ...(each.namespaces ?? []).map((name) => name || "(default)"), ...(each.failed ?? [])]
      .some((part) => String(part ?? "").toLowerCase().includes(text));
  }

  #filters(told, shown, changed) {
    const tally = new Map();
    for (const [, [kind]] of told) tally.set(kind, (tally.get(kind) ?? 0) + 1);
    return h(
      "div", { class: "filters" },
      h("label", { for: "find-partition" }, "Find"),
      h("input", {
        id: "find-partition", type: "search", placeholder: "partition, namespace, check",
        oninput: (event) => { this.text = event.target.value; changed(); },
      }),
      h("div", { class: "legend", role: "group", "aria-label": "Show only" }, KINDS.filter(([kind]) => tally.has(kind)).map(([kind, label, sign]) => h(
        "button", {
          key: kind, type: "button", "aria-pressed": String(this.kinds.has(kind)),
          onclick: () => { if (!this.kinds.delete(kind)) this.kinds.add(kind); changed(); },
        },
        h("span", { class: `cell ${kind}`, "aria-hidden": "true" }, sign), `${label} ${count(tally.get(kind))}`,
      ))),
      h("span", { class: "muted", role: "status" }, `${count(shown)} of ${many(told.length, "partition")}`),
    );
  }

  #cell(each, { kind, label, sign, active, chosen }, changed) {
    const names = (each.namespaces ?? []).map((name) => name || "(default)").join(", ");
    const told = `${each.name}: ${label}, ${many(each.rows ?? 0, "row")}${names ? `, ${names}` : ""}`;
    const choose = () => { if (this.chosen !== each.name) { this.chosen = each.name; changed(); } };
    return h(
      "button", {
        key: each.name, type: "button", class: `cell ${kind}`, tabindex: active ? "0" : "-1", title: told, "aria-label": told,
        "aria-pressed": String(chosen), onclick: choose, onfocus: choose,
      },
      sign,
    );
  }

  #walk(event) {
    const cells = [...event.currentTarget.querySelectorAll("button.cell")];
    const at = cells.indexOf(document.activeElement);
    if (at < 0) return;
    const columns = cells.findIndex((cell) => cell.offsetTop > cells[0].offsetTop);
    const row = columns < 0 ? cells.length : columns;
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, ArrowDown: at + row, ArrowUp: at - row, Home: 0, End: cells.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    cells[to]?.focus();
  }

  #details(each) {
    if (!each) return h("p", { class: "muted" }, "Choose a partition to see what it is.");
    return [
      h("h3", null, named(each.name)),
      facts(
        ["State", words(each.state)],
        ["Verdict", VERDICTS[each.verdict] ?? words(each.verdict)],
        each.failed?.length ? ["Failed checks", h("span", { class: "failed" }, each.failed.map(words).join(", "))] : null,
        ["Cohort", named(each.cohort)],
        ["Rows", count(each.rows)],
        ["Namespaces", h("ul", { class: "names" }, (each.namespaces ?? []).map((name) => h("li", { key: name }, named(name))), more(each))],
      ),
    ];
  }
}

function more(each) {
  const rest = (each.namespace_count ?? 0) - (each.namespaces ?? []).length;
  return rest > 0 && h("span", { class: "muted" }, `and ${count(rest)} more`);
}
