// Overview: every migration that the reader may see, as a card each.

import { h } from "./dom.js";
import { bytes, count, duration, many, moment, named, plain, words } from "./format.js";
import { Feed } from "./live.js";
import { aged, badge, bar, facts, inTheWay, meaning, nothing, pendingNote, phaseChain, route, table, verdictBadge } from "./parts.js";

/** Whether anything moves, so that it is worth looking often. */
export function isBusy(one) {
  const steps = Object.values(one?.progress ?? {});
  return steps.some((step) => step?.running > 0) || (one?.cohorts ?? []).some((each) => each.phase?.startsWith("HOLD"));
}

/** Whether writes wait, for a time that runs out. */
export function isHeld(one) {
  return (one.cohorts ?? []).some((each) => typeof each.hold_left === "number");
}

/** How soon a person has to look: what waits for one, then what holds writes or failed, then what runs, then the rest. */
function urgency(one) {
  if (one.pending) return 0;
  if (isHeld(one)) return 1;
  if (one.problem || one.go === false || one.alerts?.length) return 2;
  return isBusy(one) ? 3 : 4;
}

/** What is known of a migration beside its phase, verdict and obstacles. */
export function figures(one) {
  const { progress = {}, backlog, last_drift: drift, verdicts } = one;
  return [
    h(
      "div", { class: "bars" },
      progress.export && bar("Export", progress.export.done, progress.export.partitions, ` partitions, ${count(progress.export.rows)} rows${running(progress.export)}`),
      progress.load && bar("Load", progress.load.done, progress.load.partitions, ` partitions, ${count(progress.load.rows)} rows${running(progress.load)}`),
    ),
    facts(
      ["Checks", verdicts && verdicts.passed + verdicts.failed > 0
        ? [`${count(verdicts.passed)} passed, `, h("span", { class: verdicts.failed ? "failed" : null }, `${count(verdicts.failed)} failed`)]
        : h("span", { class: "muted" }, "none yet")],
      ["Backlog", backlog ? told(backlog) : h("span", { class: "muted" }, "no live writes")],
      ["Last reconciliation", drift
        ? [words(drift.scope), ": ", words(drift.outcome), drift.repairs ? `, ${many(drift.repairs, "record")} drifted` : "", ", ", moment(drift.at)]
        : h("span", { class: "muted" }, "never")],
      ["Backup", aged(one.backup_age, "none")],
      ["Restore drill", aged(one.drill_age, "never rehearsed"), one.drill_passed === false && h("span", { class: "failed" }, ", failed")],
      ["Capacity", capacity(one.capacity)],
    ),
  ];
}

function running(step) {
  return step.running > 0 ? `, ${count(step.running)} running` : "";
}

function told(backlog) {
  const parts = [many(backlog.dirty ?? 0, "record") + " to settle", `${count(backlog.open ?? 0)} open`];
  if (backlog.rejected > 0) parts.push(`${count(backlog.rejected)} rejected`);
  if (backlog.open > 0 && backlog.oldest_open) parts.push(`oldest open for ${duration(backlog.oldest_open)}`);
  return parts.join(", ");
}

function capacity(found) {
  if (!found?.fills?.length) return h("span", { class: "muted" }, "not measured");
  return h("ul", { class: "names" }, found.fills.map((each) => h(
    "li", { key: `${each.side} ${each.what}` }, `${each.side}: ${sized(each, each.used)}`,
    each.limit ? ` of ${sized(each, each.limit)} ${words(each.what)} (${Math.round((100 * each.used) / each.limit)} %)` : ` ${words(each.what)}`,
  )));
}

const sized = ({ what }, value) => (what === "rows" ? count(value) : bytes(value));

/** Alerts as a list; nothing where there is none. */
export function alertList(alerts) {
  if (!alerts?.length) return null;
  return h(
    "div", { class: "alerts" }, h("h3", null, badge("warn", many(alerts.length, "alert"))),
    h("ul", null, alerts.map((text, place) => h("li", { key: place }, h("bdi", null, plain(text))))),
  );
}

/** Cohorts whose phases differ, in a table; one phase in a chain. */
export function cohorts(one) {
  const all = one.cohorts ?? [];
  if (all.length <= 1) {
    const [only] = all;
    const phase = only?.phase ?? one.phase;
    return [phaseChain(phase, "Phase"), h("p", { class: "muted" }, meaning(phase)), only && hold(only)];
  }
  return table("Cohorts and their phases", [["Cohort"], ["Phase"], ["Since"], ["Loaded"]], all.map((each) => ({
    key: each.name,
    cells: [named(each.name), [phaseChain(each.phase, `Phase of ${each.name}`), h("p", { class: "muted" }, meaning(each.phase)), hold(each)], moment(each.since), each.loaded ? "yes" : "no"],
  })));
}

function hold(cohort) {
  if (typeof cohort.hold_left !== "number") return null;
  return h("p", { class: "note" }, badge("warn", "writes wait"), ` for at most ${duration(cohort.hold_left)} more`);
}

function card(one) {
  const address = `#/${encodeURIComponent(one.name)}`;
  return h(
    "article", { key: one.name, class: "card", "aria-labelledby": `card-${one.name}` },
    h(
      "header", null,
      h("h2", { id: `card-${one.name}` }, h("a", { href: address }, named(one.name))),
      verdictBadge(one.go), isBusy(one) && badge("busy", "running"),
    ),
    route(one.source, one.target),
    cohorts(one),
    pendingNote(one.pending),
    inTheWay(one, "h3"),
    alertList(one.alerts),
    figures(one),
    h("p", { class: "foot" }, h("a", { href: address, "aria-label": `Look into ${one.name}` }, "Look into it")),
  );
}

/** What a migration is found by: its name, its sides, and what the card says of it. */
function findable({ name, source, target, go, phase, in_the_way: blocked, alerts }) {
  const said = go === true ? "GO" : go === false ? "NO-GO" : "";
  return [name, source, target, said, phase, ...(blocked ?? []), ...(alerts ?? [])].join(" ");
}

/** The view; `filter` is what the reader typed. */
export class Overview {
  constructor() {
    this.list = new Feed("api/migrations", { ticks: (data) => data.migrations.some(isHeld) });
    this.feeds = [this.list];
    this.title = "Migrations";
    this.crumbs = [["Migrations", null]];
    this.filter = "";
  }

  get busy() {
    return this.#all().some(isBusy);
  }

  #all() {
    return (this.list.data?.migrations ?? []).toSorted((one, other) => urgency(one) - urgency(other));
  }

  render(changed) {
    const all = this.#all();
    const wanted = this.filter.toLowerCase();
    const shown = all.filter((one) => findable(one).toLowerCase().includes(wanted));
    return [
      h("h1", { key: "title" }, "Migrations"),
      all.length > 3 && h(
        "p", { key: "filter", class: "filters" }, h("label", { for: "find-migration" }, "Find"), " ",
        h("input", { id: "find-migration", type: "search", oninput: (event) => { this.filter = event.target.value; changed(); } }),
        h("span", { class: "muted", role: "status" }, ` ${shown.length} of ${all.length}`),
      ),
      h("div", { key: "cards", class: "cards" }, shown.map(card)),
      !all.length && this.list.data && h("div", { key: "none" }, nothing(
        "No migration that you may read has begun. One appears here once its DAG has run; ask an operator if you miss one.",
      )),
    ];
  }
}
