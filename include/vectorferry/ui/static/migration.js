// One migration: what is wrong with it first, then everything that is known of it.

import { AuditTrail } from "./audit.js";
import { backlogOverTime, driftOverTime, filterParity, latencyBars, latencyOverTime, loadCurve, relevance } from "./charts.js";
import { h } from "./dom.js";
import { about, worstFindings } from "./findings.js";
import { count, duration, many, milliseconds, moment, named, plain, share, words } from "./format.js";
import { Feed, query } from "./live.js";
import { alertList, cohorts, figures, isBusy, isHeld } from "./overview.js";
import {
  PHASES, badge, chart, facts, inTheWay, nothing, outside, pendingNote, route, section, table, verdictBadge,
} from "./parts.js";
import { PartitionMap } from "./partitions.js";
import { RecallList, byKind, effort } from "./recall.js";

const PARTS = [
  ["findings", "Findings"], ["timeline", "Timeline"], ["partitions", "Partitions"], ["recall", "Search quality"],
  ["latency", "Latency and load"], ["writes", "Live writes"], ["drift", "Drift"], ["evidence", "Evidence"], ["audit", "Audit trail"],
];

/** The view of one migration. */
export class Migration {
  constructor(name) {
    this.name = name;
    this.title = name;
    this.crumbs = [["Migrations", "#/"], [name, null]];
    const base = `api/migrations/${encodeURIComponent(name)}`;
    this.base = base;
    this.detail = new Feed(base, { ticks: (data) => data.routers?.length > 0 || isHeld(data) });
    this.partitions = new Feed(`${base}/partitions`);
    this.list = new Feed(`${base}/evidence`, { every: 5 });
    this.history = Object.fromEntries(
      ["latency", "backlog", "drift"].map((kind) => [kind, new Feed(`${base}/history${query({ kind })}`, { every: 15 })]),
    );
    this.audit = new AuditTrail(base);
    this.bodies = new Map();
    this.wanted = null;
    this.map = new PartitionMap();
    this.recall = new RecallList();
  }

  get busy() {
    return isBusy(this.detail.data);
  }

  get feeds() {
    if (this.detail.data === null) return [this.detail];
    const listed = this.#looked();
    return [this.detail, this.partitions, this.list, ...Object.values(this.history), this.audit.feed, ...(listed ? [this.#body(listed.hash)] : [])];
  }

  /** All evidence, newest first. */
  #all() {
    const found = this.list.data?.evidence ?? this.list.data ?? [];
    return [...found].sort((a, b) => String(b.at).localeCompare(String(a.at)));
  }

  /** The evidence that is looked at: the one that was chosen, else the newest about a cut-over, else the newest. */
  #looked() {
    const all = this.#all();
    return all.find((each) => each.hash === this.wanted) ?? all.find((each) => each.kind === "cutover") ?? all[0];
  }

  #body(hash) {
    // Evidence never changes: once read it is known.
    if (!this.bodies.has(hash)) this.bodies.set(hash, new Feed(`${this.base}/evidence/${encodeURIComponent(hash)}`, { every: Infinity }));
    return this.bodies.get(hash);
  }

  render(changed) {
    const one = this.detail.data;
    const listed = this.#looked();
    const found = listed ? this.#body(listed.hash).data : null;
    const address = `#/${encodeURIComponent(this.name)}`;
    return [
      h("div", { key: "title", class: "title" }, h("h1", null, named(one.name ?? this.name)), verdictBadge(one.go), isBusy(one) && badge("busy", "running"),
        h("span", { class: "links" }, outside(one.links?.dag, "DAG"), outside(one.links?.runs, "Runs"))),
      h("div", { key: "route" }, route(one.source, one.target)),
      h("div", { key: "pending" }, pendingNote(one.pending)),
      h("div", { key: "way" }, inTheWay(one, "h2")),
      h("nav", { key: "parts", class: "parts", "aria-label": "Parts of this page" }, PARTS.map(([id, title]) => h("a", { key: id, href: `${address}/${id}` }, title))),
      section("findings", this.#heading(one, found), this.#findings(listed, found, changed)),
      h("section", { key: "state", "aria-labelledby": "title-state" }, h("h2", { id: "title-state", tabindex: "-1" }, "Where it stands"),
        cohorts(one), alertList(one.alerts), figures(one), plan(one.plan)),
      section("timeline", "Timeline", timeline(one.timeline ?? [])),
      section("partitions", "Partitions", this.map.render(this.partitions.data?.partitions, changed)),
      section("recall", "Search quality", this.#quality(found, changed)),
      section("latency", "Latency and load", this.#latency(found)),
      section("writes", "Live writes", this.#writes(one)),
      section("drift", "Drift", this.#drift(one)),
      section("evidence", "Evidence and approvals", this.#evidence(one, listed)),
      section("audit", "Audit trail", this.audit.render((one.cohorts ?? []).map((each) => each.name), changed)),
    ];
  }

  #heading(one, found) {
    return (found?.body?.go ?? one.go) === false ? "Why it says NO-GO" : "Findings";
  }

  #findings(listed, found, changed) {
    if (!listed) return nothing("No evidence yet: a run collects it after its checks, before it asks a person.");
    const all = this.#all();
    return [
      all.length > 1 && h(
        "div", { class: "filters" }, h("label", { for: "which-evidence" }, "Evidence"),
        h(
          "select", { id: "which-evidence", onchange: (event) => { this.wanted = event.target.value; changed(this.#body(this.wanted)); } },
          all.slice(0, 100).map((each) => h("option", { key: each.hash, value: each.hash, selected: each === listed }, summary(each))),
        ),
      ),
      found ? worstFindings(listed, found) : nothing("Reading the evidence …"),
    ];
  }

  #quality(found, changed) {
    if (!found) return nothing("No evidence yet.");
    const overall = verdictsOf(found, "recall").find((each) => each.scope === "overall")?.figures;
    const filters = verdictsOf(found, "filters").filter((each) => each.scope !== "overall");
    const judged = figuresOf(found, "relevance");
    return [
      h("h3", null, "Recall by namespace"), this.recall.render(found.namespaces, changed), byKind(overall), effort(figuresOf(found, "effort")),
      judged && [h("h3", null, "Relevance, by labelled judgements"), chart(relevance, judged, `Relevance: ${plain(judged)}`), facts(
        ...["source", "target"].map((side) => [side, `nDCG ${share(judged[side]?.ndcg)}, MRR ${share(judged[side]?.mrr)}`]),
      )],
      filters.length > 0 && [h("h3", null, "Filters"), filterTable(filters)],
    ];
  }

  #latency(found) {
    const points = this.history.latency.data?.points ?? [];
    const measured = figuresOf(found, "latency");
    const load = figuresOf(found, "load");
    return [
      points.length
        ? [h("h3", null, "Over time"), chart(latencyOverTime, points, "Latency of both sides over time", { budgets: budgets(measured) }), lastOf(points)]
        : nothing("No latency over time yet: the watch DAG measures it while a migration lives."),
      measured && [h("h3", null, "In the evidence"), chart(latencyBars, measured, "Latency of both sides in the evidence"), table(
        "Latency in the evidence", [["Side"], ["p50", "figure"], ["p95", "figure"], ["p99", "figure"], ["Longest", "figure"]],
        ["source", "target"].filter((side) => measured[side]).map((side) => ({
          key: side, cells: [side, ...["p50_ms", "p95_ms", "p99_ms", "max_ms"].map((name) => milliseconds(measured[side][name]))],
        })),
      )],
      load?.steps?.length > 0 && [h("h3", null, "Load to the breaking point"), facts(
        ["Declared peak", `${plain(load.declared_peak)} requests/s`],
        typeof load.required === "number" ? ["Required", `${plain(load.required)} requests/s`] : null,
        ["Breaking point", load.breaking_point ? `${plain(load.breaking_point)} requests/s` : "not reached"],
        ["Limited by", words(load.limited_by)], load.hardware ? ["Hardware", plain(load.hardware)] : null,
      ), chart(loadCurve, load, "Latency by rate of requests; the table below has the figures"), loadTable(load)],
    ];
  }

  #writes(one) {
    const points = this.history.backlog.data?.points ?? [];
    const routers = one.routers ?? [];
    return [
      points.length
        ? chart(backlogOverTime, points, "Dirty and open records over time")
        : nothing("No backlog over time yet: it is kept while routers write."),
      h("h3", null, "Routers"),
      table(
        "Routers and their leases", [["Router"], ["Host"], ["Phase"], ["Still under way"], ["Lease"], ["Version"]],
        routers.map((each) => ({
          key: each.id,
          cells: [
            named(each.id), named(each.host), each.phase || "–", each.draining || "–",
            each.lease_left > 0 ? `${duration(each.lease_left)} left` : badge("bad", "lapsed"), each.version || "–",
          ],
        })),
        "No router has joined: nothing writes through Vectorferry now.",
      ),
    ];
  }

  #drift(one) {
    const points = this.history.drift.data?.points ?? [];
    const runs = one.reconciliations ?? [];
    return [
      points.length > 0 && chart(driftOverTime, points, "Records that drifted, by reconciliation; the table below has the figures"),
      table(
        "Reconciliations", [["Began"], ["Scope"], ["Outcome"], ["Records that drifted", "figure"]],
        (runs.length ? runs : [...points].reverse()).slice(0, 20).map((each, place) => ({
          key: each.at ?? place,
          cells: [moment(each.at), words(each.scope), words(each.outcome ?? "not ended"), count(each.repairs ?? each.figures?.repairs ?? 0)],
        })),
        "No reconciliation yet: it begins by night once the first load is done.",
      ),
    ];
  }

  #evidence(one, listed) {
    return table(
      "Evidence and the answers to it", [["Collected"], ["About"], ["Says"], ["Run"], ["Answers", "wide"], ["Hash"]],
      this.#all().map((each) => ({
        key: each.hash,
        class: each === listed ? "looked" : null,
        cells: [
          moment(each.at), about(each.kind), [verdictBadge(each.go), each.approvable === false && h("span", { class: "muted" }, " cannot be approved")], named(each.run),
          answers(each.approvals ?? []), outside(`reports/${encodeURIComponent(one.dag)}/${each.hash}`, h("code", { title: each.hash }, each.hash.slice(0, 12))),
        ],
      })),
      "No evidence yet.",
    );
  }
}

const summary = (each) => `${about(each.kind)}, ${String(each.at ?? "").slice(0, 16).replace("T", " ")} UTC, ${each.go === false ? "NO-GO" : each.go ? "GO" : "not judged"}`;

function verdictsOf(found, check) {
  return (found?.body?.verdicts ?? []).filter((each) => each.check === check);
}

function figuresOf(found, check) {
  const all = verdictsOf(found, check);
  return (all.find((each) => each.scope === "overall") ?? all[0])?.figures ?? null;
}

function budgets(measured) {
  return measured ? { p50_ms: measured.max_p50_ms, p99_ms: measured.max_p99_ms } : {};
}

function plan(found) {
  if (!found) return null;
  return h("p", { class: "muted" }, "Plan ", h("code", null, found.id), `: ${many(found.rows, "row")}, ${many(found.namespaces, "namespace")}, ${many(found.partitions, "partition")}`);
}

/** Changes of phase, each with how long the cohort stayed there. */
function timeline(rows) {
  return table(
    "Changes of phase, newest first", [["When"], ["Cohort"], ["From → to"], ["Lasted"], ["By"], ["Why", "wide"], ["Epoch", "figure"]],
    [...rows].sort((a, b) => String(b.at).localeCompare(String(a.at))).map((each) => ({
      key: `${each.cohort} ${each.epoch} ${each.at}`,
      class: PHASES.indexOf(each.to) < PHASES.indexOf(each.from) ? "backwards" : null,
      cells: [
        moment(each.at), named(each.cohort),
        [h("span", { class: "phase" }, each.from ?? "–"), " → ", h("span", { class: "phase" }, each.to), PHASES.indexOf(each.to) < PHASES.indexOf(each.from) && [" ", badge("warn", "back")]],
        lasted(each, rows), named(each.by), h("bdi", null, plain(each.reason ?? "")), plain(each.epoch),
      ],
    })),
    "It has not begun: there is no change of phase yet.",
  );
}

/** How long the cohort stayed in what it entered. */
function lasted(entered, rows) {
  const next = rows
    .filter((each) => each.cohort === entered.cohort && (each.epoch ?? 0) > (entered.epoch ?? 0))
    .sort((a, b) => a.epoch - b.epoch)[0];
  if (!next) return h("span", { class: "muted" }, "until now");
  return duration((new Date(next.at) - new Date(entered.at)) / 1000);
}

function answers(all) {
  if (!all.length) return h("span", { class: "muted" }, "none");
  return h("ul", { class: "names" }, all.map((each, place) => h(
    "li", { key: place }, named(each.approver ?? each.by), ` ${words(each.decision)} `, moment(each.at ?? each.created_at), each.reason && [": ", h("bdi", null, each.reason)],
  )));
}

function filterTable(filters) {
  const rows = filters.map((each) => ({
    filter: each.scope, matched: each.figures?.matched ?? each.figures?.matches, passed: each.passed, differences: each.total_differences,
  }));
  const failed = filters.filter((each) => !each.passed);
  return [
    h("p", null, `${many(filters.length, "filter")} asked of both sides, `, h("span", { class: failed.length ? "failed" : null }, `${count(failed.length)} gave other records`), "."),
    rows.some((each) => typeof each.matched === "number") && chart(filterParity, rows, "Records that match each filter"),
    failed.length > 0 && table("Filters that failed", [["Filter", "wide"], ["Why", "wide"]], failed.map((each) => ({
      key: each.scope, cells: [h("code", null, each.scope), h("bdi", null, each.reason || "other records were returned")],
    }))),
  ];
}

function lastOf(points) {
  const last = new Map();
  for (const each of points) last.set(each.scope, each);
  return table(
    "Latency at the last measurement", [["Side"], ["At"], ["p50", "figure"], ["p95", "figure"], ["p99", "figure"], ["Queries", "figure"], ["From"]],
    [...last.values()].map((each) => {
      const told = { ...each, ...(each.figures ?? {}) };
      return {
        key: each.scope,
        cells: [each.scope, moment(each.at), milliseconds(told.p50_ms), milliseconds(told.p95_ms), milliseconds(told.p99_ms), count(told.queries), told.from ?? "–"],
      };
    }),
  );
}

function loadTable(load) {
  return table(
    "Steps of the load test", [["Rate", "figure"], ["Sent", "figure"], ["p50", "figure"], ["p95", "figure"], ["p99", "figure"], ["Errors", "figure"], ["Client kept up"]],
    load.steps.map((each) => ({
      key: each.rate,
      cells: [
        `${plain(each.rate)}/s`, `${plain(each.sent_rate)}/s`, milliseconds(each.p50_ms), milliseconds(each.p95_ms), milliseconds(each.p99_ms),
        count(each.errors), each.client_saturated ? badge("warn", "no") : "yes",
      ],
    })),
  );
}
