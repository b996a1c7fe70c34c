// Audit trail: who did what and when, newest first, with filters, a page at a time.

import { h } from "./dom.js";
import { count, moment, named, plain, words } from "./format.js";
import { Feed, query } from "./live.js";
import { table } from "./parts.js";

const PAGE = 50;
const LONG = 140;

/** The trail; its feed is the newest page, older ones are added by hand and kept. */
export class AuditTrail {
  constructor(base) {
    this.base = base;
    this.filters = { actor: "", action: "", cohort: "", text: "", since: "", until: "" };
    this.#begin();
  }

  #begin() {
    this.feed = new Feed(this.#path(), { every: 5 });
    this.older = [];
    this.more = undefined;
  }

  #path(before) {
    const { since, until, ...rest } = this.filters;
    return `${this.base}/audit${query({ ...rest, since: utc(since), until: utc(until), before, limit: PAGE })}`;
  }

  #set(name, value, changed) {
    if (this.filters[name] === value) return;
    this.filters[name] = value;
    const known = this.feed.data;
    this.#begin();
    // What can be chosen stays, and what is shown, until the answer is there.
    this.feed.data = known;
    changed(this.feed);
  }

  async #further(changed) {
    const rows = this.#rows();
    const page = new Feed(this.#path(this.more ?? this.feed.data.more ?? rows.at(-1)?.id));
    const own = this.feed;
    await page.refresh();
    if (own !== this.feed || !page.data) return changed();
    this.older = [...this.older, ...page.data.rows];
    this.more = page.data.more;
    return changed();
  }

  #rows() {
    const seen = new Map();
    for (const row of [...(this.feed.data?.rows ?? []), ...this.older]) seen.set(row.id, row);
    return [...seen.values()].sort((a, b) => b.id - a.id);
  }

  render(cohorts, changed) {
    const { data } = this.feed;
    const rows = this.#rows();
    const more = this.more === undefined ? data?.more : this.more;
    const choice = (name, label, options) => h(
      "div", { class: "field", key: name }, h("label", { for: `audit-${name}` }, label),
      h(
        "select", { id: `audit-${name}`, onchange: (event) => this.#set(name, event.target.value, changed) },
        h("option", { value: "", key: "" }, "all"),
        options.map((each) => h("option", { value: each, key: `=${each}` }, words(each))),
      ),
    );
    const typed = (name, label, type) => h(
      "div", { class: "field", key: name }, h("label", { for: `audit-${name}` }, label),
      h("input", { id: `audit-${name}`, type, onchange: (event) => this.#set(name, event.target.value, changed) }),
    );
    return [
      h(
        "form", { class: "filters", "aria-label": "Filters of the audit trail", onsubmit: (event) => event.preventDefault() },
        choice("actor", "Who", data?.actors ?? []), choice("action", "What", data?.actions ?? []),
        cohorts.length > 1 && choice("cohort", "Cohort", cohorts),
        typed("text", "Words in it", "search"), typed("since", "Since", "datetime-local"), typed("until", "Until", "datetime-local"),
      ),
      table(
        "Audit trail, newest first", [["When"], ["Who"], ["What"], ["Cohort"], ["Detail", "wide"]],
        rows.map((row) => ({
          key: row.id,
          cells: [moment(row.at), named(row.actor), words(row.action), row.cohort ? named(row.cohort) : "", detail(row.detail)],
        })),
        data ? "Nothing like this was done." : "Reading the trail …",
      ),
      h(
        "p", { class: "foot", role: "status" }, h("span", { class: "muted" }, `${count(rows.length)} shown `),
        more && h("button", { type: "button", onclick: () => this.#further(changed) }, "Load more"),
      ),
    ];
  }
}

function utc(local) {
  return local ? new Date(local).toISOString() : "";
}

function detail(value) {
  const text = plain(value);
  if (text.length <= LONG) return h("bdi", null, text === "–" ? "" : text);
  return h("details", null, h("summary", null, h("bdi", null, `${text.slice(0, LONG)}…`)), h("bdi", null, text));
}
