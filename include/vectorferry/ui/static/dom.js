// Elements made of text alone, and a patch that changes what differs: focus, scroll, selections and open details stay as they are.

const HANDLERS = ["onclick", "oninput", "onchange", "onkeydown", "onfocus", "onsubmit"];
// What the user may have changed since it was made.
const OWN = new Set(["open", "value", "style"]);

/**
 * An element. `props` are attributes, but for handlers, `key` (which child it is among its siblings) and `chart`
 * (see charts.js); false, null and undefined are left out. Children are nodes, texts, and lists of them.
 */
export function h(tag, props, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === false || value === null || value === undefined) continue;
    if (name === "key") made.vfKey = String(value);
    else if (name === "chart") made.vfChart = value;
    else if (HANDLERS.includes(name)) made[name] = value;
    else made.setAttribute(name, value === true ? "" : String(value));
  }
  made.append(...flat(children));
  return made;
}

function flat(children) {
  return children.flat(Infinity).filter((each) => each !== null && each !== undefined && each !== false && each !== "");
}

/** Makes the children of `host` like `fresh`. */
export function patch(host, ...fresh) {
  const wanted = flat(fresh).map((each) => (each instanceof Node ? each : document.createTextNode(String(each))));
  const keys = new Set(wanted.map((each) => each.vfKey).filter((key) => key !== undefined));
  const there = new Map();
  for (const child of [...host.childNodes]) {
    if (child.vfKey === undefined) continue;
    if (keys.has(child.vfKey)) there.set(child.vfKey, child);
    else child.remove();
  }
  let place = host.firstChild;
  for (const next of wanted) {
    const found = next.vfKey === undefined ? place : there.get(next.vfKey);
    if (!found || found.nodeName !== next.nodeName || found.vfKey !== next.vfKey) {
      host.insertBefore(next, place);
      continue;
    }
    if (found === place) place = place.nextSibling;
    else host.insertBefore(found, place);
    same(found, next);
  }
  while (place) {
    const rest = place.nextSibling;
    place.remove();
    place = rest;
  }
}

function same(old, next) {
  if (old.nodeType === Node.TEXT_NODE) {
    if (old.data !== next.data) old.data = next.data;
    return;
  }
  for (const { name } of [...old.attributes]) {
    if (!next.hasAttribute(name) && !OWN.has(name)) old.removeAttribute(name);
  }
  for (const { name, value } of next.attributes) {
    if (!OWN.has(name) && old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  if (old.nodeName === "PROGRESS" && old.value !== next.value) old.value = next.value;
  for (const name of HANDLERS) old[name] = next[name];
  old.vfChart = next.vfChart;
  // What is drawn inside is drawn anew when its data change.
  if (!next.vfChart) patch(old, ...next.childNodes);
}
