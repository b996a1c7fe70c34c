// Airflow around the page: its colours, and links that leave the frame.

/** Airflow's document where the page is framed by it, else null. */
export function airflow() {
  try {
    return window.parent !== window && window.parent.document ? window.parent.document : null;
  } catch {
    return null; // another origin's frame: nothing of it can be read
  }
}

const system = window.matchMedia("(prefers-color-scheme: dark)");

function chosen() {
  const around = airflow();
  if (around) return around.documentElement.classList.contains("dark") ? "dark" : "light";
  // The same choice in a tab of its own: Airflow keeps it there.
  let kept = null;
  try {
    kept = window.localStorage.getItem("theme");
  } catch {
    kept = null; // storage may be forbidden
  }
  return kept === "dark" || kept === "light" ? kept : system.matches ? "dark" : "light";
}

/** The theme, `light` or `dark`. */
export function theme() {
  return document.documentElement.classList.contains("dark") ? "dark" : "light";
}

/** Takes Airflow's theme now and whenever it changes; calls `changed` then. */
export function followTheme(changed) {
  const follow = () => {
    const dark = chosen() === "dark";
    if (document.documentElement.classList.contains("dark") === dark) return;
    document.documentElement.classList.toggle("dark", dark);
    changed();
  };
  follow();
  system.addEventListener("change", follow);
  window.addEventListener("storage", follow);
  const around = airflow();
  if (around) new MutationObserver(follow).observe(around.documentElement, { attributeFilter: ["class"] });
}

/** Keeps what follows the # in the address of Airflow's document too, so that a reload and a copied address lead back to the same migration. */
export function shareAddress() {
  const around = airflow();
  if (!around) return;
  const outer = around.defaultView;
  if (location.hash.length < 2 && outer.location.hash.startsWith("#/")) history.replaceState(null, "", outer.location.hash);
  const share = () => {
    if (outer.location.hash === location.hash) return;
    // With its path: Airflow's document has a <base>, against which a lone # would lead to another page.
    const { pathname, search } = outer.location;
    outer.history.replaceState(outer.history.state, "", `${pathname}${search}${location.hash || "#/"}`);
  };
  if (location.hash) share();
  window.addEventListener("hashchange", share);
}

/** A link to Airflow or elsewhere is followed by an anchor of the document around the frame, which may not navigate it otherwise. */
export function followOutside(event) {
  const link = event.target.closest?.("a[data-outside]");
  const around = airflow();
  if (!link || !around || event.defaultPrevented) return;
  event.preventDefault();
  const anchor = around.createElement("a");
  anchor.href = link.href;
  if (event.ctrlKey || event.metaKey || event.shiftKey || event.button === 1) anchor.target = "_blank";
  anchor.rel = "noopener";
  around.body.append(anchor);
  anchor.click();
  anchor.remove();
}

/** An address that a link may have: http(s) alone, against the page's own; null otherwise. */
export function address(url) {
  if (!url) return null;
  try {
    const made = new URL(url, document.baseURI);
    return made.protocol === "http:" || made.protocol === "https:" ? made.href : null;
  } catch {
    return null;
  }
}
