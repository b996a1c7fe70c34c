// Entry: which view the address names, and the clock by which it is kept true.

import { airflow, followOutside, followTheme, shareAddress } from "./airflow.js";
import { drawCharts } from "./charting.js";
import { h, patch } from "./dom.js";
import { ago, named } from "./format.js";
import { Migration } from "./migration.js";
import { Overview } from "./overview.js";

// Seconds between two looks at the server.
const BUSY = 3;
const IDLE = 20;
const FAILED = 10;

const [main, banner, crumbs, updated] = ["main", "banner", "crumbs", "updated"].map((id) => document.getElementById(id));
let view = null;
let place = "";
let timer = null;
let asking = null;

/** `#/name/section`: the name of a migration and of a part of its page, both may lack. */
function where() {
  const [name = "", part = ""] = location.hash.replace(/^#\/?/, "").split("/");
  try {
    return [decodeURIComponent(name), part];
  } catch {
    return [name, part];
  }
}

function go() {
  const [name, part] = where();
  if (!view || name !== place) {
    place = name;
    view = name ? new Migration(name) : new Overview();
    document.title = `${view.title} · Vectorferry`;
    patch(crumbs, h("ol", null, view.crumbs.map(([text, href]) => h(
      "li", { key: text }, href ? h("a", { href }, text) : h("span", { "aria-current": "page" }, named(text)),
    ))));
    main.replaceChildren();
    window.scrollTo(0, 0);
    show();
    look(true).then(() => toPart(part));
    return;
  }
  toPart(part);
}

function toPart(part) {
  const heading = part && document.getElementById(`title-${part}`);
  if (!heading) return;
  heading.scrollIntoView();
  heading.focus({ preventScroll: true });
}

function show() {
  const waiting = view.feeds[0].data === null && view.feeds[0].failure === null;
  main.setAttribute("aria-busy", String(waiting));
  if (waiting) patch(main, h("p", { class: "empty loading" }, "Reading the journal …"));
  else if (view.feeds[0].data === null) patch(main, h("p", { class: "empty" }, "There is nothing to show: see above."));
  else patch(main, view.render(changed));
  drawCharts(main);
  tellState();
}

function changed(feed = null) {
  show();
  if (feed) feed.refresh().then(show);
}

function tellState() {
  const failed = view.feeds.map((feed) => feed.failure).filter(Boolean);
  const worst = failed.find((each) => each.status === 401) ?? failed[0];
  const at = view.feeds[0].at;
  patch(banner, worst ? h("div", { class: "banner" }, ...said(worst, at)) : null);
  patch(updated, at ? `Updated ${ago(at)}` : "");
}

function said({ status, text }, at) {
  const old = at ? ` What is shown is as it was ${ago(at)}.` : "";
  if (status === 401) {
    const login = new URL("../", document.baseURI).href;
    return [
      h("strong", null, "You are no longer logged in."), " ",
      h("a", { href: login, "data-outside": true }, "Log in to Airflow"), `, then come back.${old}`,
    ];
  }
  if (status === 403 || status === 404) {
    return [h("strong", null, "There is no such migration, or you may not read it."), " ", h("a", { href: "#/" }, "All migrations")];
  }
  if (status === 0) {
    return [h("strong", null, "Airflow's server does not answer."), ` ${text}; it is asked again every ${FAILED} s.${old}`];
  }
  return [h("strong", null, "The server could not tell."), ` ${text}; it is asked again every ${FAILED} s.${old}`];
}

/** Asks all feeds of the view that are due. Nobody looks at a hidden tab, so it asks nothing. */
async function look(force = false) {
  clearTimeout(timer);
  if (asking) await asking;
  const mine = view;
  asking = Promise.all(mine.feeds.map((feed) => feed.refresh(force)));
  const found = await asking;
  asking = null;
  if (view !== mine) return;
  if (found.some(Boolean) || force) show();
  // A view wants more once it knows what there is: the newest evidence, say.
  for (let more = unread(mine); more.length; more = unread(mine)) {
    await Promise.all(more.map((feed) => feed.refresh()));
    if (view !== mine) return;
    show();
  }
  tellState();
  wait();
}

function unread(shown) {
  return shown.feeds.filter((feed) => feed.at === null && feed.failure === null);
}

function wait() {
  clearTimeout(timer);
  if (document.visibilityState === "hidden") return;
  const failed = view.feeds.some((feed) => feed.failure);
  timer = setTimeout(look, 1000 * (failed ? FAILED : view.busy ? BUSY : IDLE));
}

// Links from Airflow name the migration in the query: a server never sees what follows a #.
const linked = new URLSearchParams(location.search).get("migration");
if (linked) history.replaceState(null, "", `${location.pathname}#/${encodeURIComponent(linked)}`);
shareAddress();
followTheme(() => drawCharts(main));
document.addEventListener("click", followOutside);
document.addEventListener("auxclick", followOutside);
document.addEventListener("visibilitychange", () => (document.visibilityState === "hidden" ? clearTimeout(timer) : look()));
document.getElementById("refresh").addEventListener("click", () => look(true));
document.getElementById("skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
// In the next frame: what is drawn changes the size of what is observed.
new ResizeObserver(() => requestAnimationFrame(() => drawCharts(main))).observe(main);
setInterval(tellState, 5000);
// What this page cannot draw is a fault of its own: it is said instead of showing what is old as if it were new.
for (const kind of ["error", "unhandledrejection"]) {
  window.addEventListener(kind, (event) => patch(banner, h(
    "div", { class: "banner" }, h("strong", null, "This page failed."), ` ${event.message ?? event.reason?.message ?? ""} Reload it; what is shown may be old.`,
  )));
}
window.addEventListener("hashchange", go);
document.documentElement.classList.toggle("framed", airflow() !== null);
go();
