// When to try again: exponential backoff with full jitter, and never before the server said. Knows no connection.

/** The first ceiling of a pause, in milliseconds; it doubles with each failure. */
const FIRST_MS = 500;
/** No pause is longer, unless the server asks for it. */
const MOST_MS = 30_000;

/** How long to wait between attempts to connect. */
export class Backoff {
  #failures = 0;
  #random;

  /** @param {() => number} [random] a number from 0 to 1, by chance */
  constructor(random = Math.random) {
    this.#random = random;
  }

  /**
   * The next pause in milliseconds: by chance between nothing and a ceiling that doubles, so that clients which lost
   * the same server do not come back together.
   * @param {number} [atLeastMs] what the server asked for
   */
  next(atLeastMs = 0) {
    const ceiling = Math.min(MOST_MS, FIRST_MS * 2 ** this.#failures);
    this.#failures += 1;
    return Math.max(atLeastMs, this.#random() * ceiling);
  }

  /** It went well: the next pause is a short one again. */
  reset() {
    this.#failures = 0;
  }
}
