// Feeds: what the server said last, asked for anew with its ETag.

const PATIENCE = 30_000;

/** One address below `api/`; `data` is null until it was read, `failure` null while the server answers. */
export class Feed {
  /** `every`: seconds for which an answer is young enough. `ticks`: whether data hold what runs with the clock, of which an ETag knows nothing. */
  constructor(path, { every = 0, ticks = () => false } = {}) {
    this.path = path;
    this.every = every;
    this.ticks = ticks;
    this.data = null;
    this.etag = null;
    this.at = null;
    this.failure = null;
  }

  /** Asks, unless what is known is younger than `every`; true where something changed. */
  async refresh(force = false) {
    if (!force && this.failure === null && this.at !== null && Date.now() - this.at < this.every * 1000) return false;
    const before = this.failure;
    const changed = await this.#ask();
    return changed || (before === null) !== (this.failure === null) || before?.status !== this.failure?.status;
  }

  async #ask() {
    let answer;
    try {
      answer = await fetch(this.path, {
        headers: this.etag ? { "If-None-Match": this.etag } : {},
        cache: "no-store",
        credentials: "same-origin",
        signal: AbortSignal.timeout(PATIENCE),
      });
      if (answer.status === 304) return this.#answered();
      if (answer.ok) {
        this.data = await answer.json();
        this.etag = this.ticks(this.data) ? null : answer.headers.get("ETag");
        this.#answered();
        return true;
      }
    } catch (error) {
      // No connection, no answer in time, or an answer that is no JSON: all of them mean that what is shown is old.
      this.failure = { status: 0, text: error.name === "TimeoutError" ? "no answer in 30 s" : "no answer" };
      return false;
    }
    this.failure = { status: answer.status, text: await reason(answer) };
    return false;
  }

  #answered() {
    this.at = Date.now();
    this.failure = null;
    return false;
  }
}

async function reason(answer) {
  const text = await answer.text().catch(() => "");
  try {
    const { detail } = JSON.parse(text);
    return typeof detail === "string" ? detail : `status ${answer.status}`;
  } catch {
    return `status ${answer.status}`;
  }
}

/** The pair as a query, without what is empty. */
export function query(values) {
  const chosen = Object.entries(values).filter(([, value]) => value !== "" && value !== null && value !== undefined);
  return chosen.length ? `?${new URLSearchParams(chosen)}` : "";
}
