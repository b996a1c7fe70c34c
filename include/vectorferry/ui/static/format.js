// Figures, times and names as people read them.

import { h } from "./dom.js";

const number = new Intl.NumberFormat("en");
const clock = new Intl.DateTimeFormat("en-GB", {
  day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", second: "2-digit", timeZoneName: "short",
});

/** `12,345`, or a dash where there is no figure. */
export function count(value) {
  return typeof value === "number" ? number.format(value) : "–";
}

/** A count with its word: `1 row`, `2 rows`. */
export function many(value, one, several = `${one}s`) {
  return `${count(value)} ${value === 1 ? one : several}`;
}

/** A share of one as `0.9876`: recall is read to four places. */
export function share(value) {
  return typeof value === "number" ? value.toFixed(4) : "–";
}

/** Milliseconds. */
export function milliseconds(value) {
  if (typeof value !== "number") return "–";
  return `${value >= 100 ? number.format(Math.round(value)) : value.toFixed(1)} ms`;
}

/** Bytes with the unit that fits. */
export function bytes(value) {
  if (typeof value !== "number") return "–";
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  const power = Math.min(units.length - 1, Math.max(0, Math.floor(Math.log2(Math.max(1, value)) / 10)));
  return `${(value / 1024 ** power).toFixed(power ? 1 : 0)} ${units[power]}`;
}

/** Seconds with the two largest units: `2 d 3 h`. */
export function duration(seconds) {
  if (typeof seconds !== "number") return "–";
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  const units = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  const first = units.findIndex(([size]) => whole >= size);
  const told = [];
  let left = whole;
  for (const [size, unit] of units.slice(first, first + 2)) {
    if (left >= size) told.push(`${Math.floor(left / size)} ${unit}`);
    left %= size;
  }
  return told.join(" ");
}

/** A moment as the reader's clock shows it, with its zone; the title has it in UTC. */
export function moment(iso) {
  if (!iso) return "–";
  const at = new Date(iso);
  return Number.isNaN(at.getTime()) ? String(iso) : h("time", { datetime: iso, title: at.toISOString() }, clock.format(at));
}

/** How long ago a moment was, against now. */
export function ago(at, now = Date.now()) {
  const seconds = Math.max(0, (now - new Date(at).getTime()) / 1000);
  return seconds < 5 ? "just now" : `${duration(Math.round(seconds))} ago`;
}

/** A name of the data: text, kept apart from the direction of what is around it, broken anywhere. */
export function named(text) {
  return h("bdi", { class: "name" }, text === "" || text === null || text === undefined ? "(default)" : String(text));
}

/** The scope of a verdict: a namespace, a partition, a filter, or everything. */
export function scoped(scope) {
  const text = String(scope ?? "");
  if (text === "overall") return "overall";
  return text.startsWith("namespace:") ? ["namespace ", named(text.slice("namespace:".length))] : named(text);
}

/** `shadow_reads` as words. */
export function words(name) {
  return String(name ?? "").replaceAll("_", " ");
}

/** Whatever JSON holds as one line of text. */
export function plain(value) {
  if (value === null || value === undefined || value === "") return "–";
  if (Array.isArray(value)) return value.map(plain).join(", ");
  if (typeof value === "object") return Object.entries(value).map(([key, each]) => `${words(key)} ${plain(each)}`).join(", ");
  return typeof value === "number" ? number.format(value) : String(value);
}
