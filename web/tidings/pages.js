// Loads pages into an inbox, one load after the other. What is told while a page is on its way is applied to what it
// brings, so that nothing falls between. Knows no connection: it asks by the function that it was given.

/** @typedef {import("./link.js").Message} Message */

/** Messages kept while a page is on its way; if more come, it is loaded once more. */
const KEPT_MOST = 5_000;
/** Before what failed to load is loaded again. */
const RELOAD_AFTER_MS = 2_000;
/** Page size of the server at most. */
const PAGE_MOST = 100;

/** What loads an inbox. */
export class Pages {
  #inbox;
  #size;
  #host;
  /** @type {Promise<void>} */
  #loads = Promise.resolve();
  #isReloading = false;
  /** Messages that came while a page was on its way. @type {Message[] | undefined} */
  #kept;

  /** Whether what was loaded is not to be relied on. */
  isStale = true;

  /**
   * @param {import("./inbox.js").Inbox} inbox
   * @param {number} size of a page
   * @param {{ ask: (command: Message) => Promise<any>, isOpen: () => boolean, onLoaded: () => void, onError: (error: unknown) => void }} host
   */
  constructor(inbox, size, host) {
    this.#inbox = inbox;
    this.#size = size;
    this.#host = host;
  }

  /**
   * Takes a message that has been applied: a page that is on its way may not know it.
   * @param {Message} message
   */
  keep(message) {
    if (!this.#kept) return;
    this.#kept.push(message);
    if (this.#kept.length > KEPT_MOST) {
      this.#kept = [];
      this.isStale = true;
    }
  }

  /** Loads as much as was loaded again, until it can be relied on. Does nothing without a connection. */
  async reload() {
    if (this.#isReloading || !this.#host.isOpen()) return;
    this.#isReloading = true;
    try {
      while (this.isStale && this.#host.isOpen()) await this.#load(() => this.#replace());
    } catch (error) {
      this.isStale = true;
      if (this.#host.isOpen()) {
        this.#host.onError(error);
        setTimeout(() => this.reload(), RELOAD_AFTER_MS);
      }
    } finally {
      this.#isReloading = false;
    }
    this.#host.onLoaded();
  }

  /** Loads the next page. */
  more() {
    return this.#load(async () => {
      const cursor = this.#inbox.next;
      if (cursor !== null) this.#inbox.append(await this.#ask(cursor, this.#size));
    });
  }

  async #replace() {
    this.isStale = false;
    const pages = [];
    /** @type {string | null | undefined} */
    let cursor;
    for (let left = Math.max(this.#size, this.#inbox.size); left > 0 && cursor !== null; ) {
      const page = await this.#ask(cursor, Math.min(PAGE_MOST, left));
      pages.push(page);
      left -= Math.max(1, page.items.length);
      cursor = page.next;
    }
    this.#inbox.replace(pages);
  }

  /**
   * @param {string | undefined} cursor
   * @param {number} limit
   */
  #ask(cursor, limit) {
    return this.#host.ask({ type: "inbox", cursor, limit });
  }

  /** @param {() => Promise<void>} load */
  #load(load) {
    const run = this.#loads.then(async () => {
      const kept = (this.#kept = /** @type {Message[]} */ ([]));
      try {
        await load();
        for (const message of this.#kept ?? kept) if (this.#inbox.apply(message)) this.isStale = true;
      } finally {
        this.#kept = undefined;
      }
      this.#host.onLoaded();
      if (this.isStale) this.reload();
    });
    this.#loads = run.catch(() => {});
    return run;
  }
}
