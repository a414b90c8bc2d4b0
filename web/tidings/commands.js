// What a client asks of the server, and how each command travels over HTTP when the connection only leads one way.

/** @typedef {import("./link.js").Message} Message */

/**
 * The HTTP request that asks the same as a command.
 * @param {Message} command
 * @returns {{ method: string, path: string, body?: object }}
 */
export function asRequest(command) {
  const { type, ...fields } = command;
  switch (type) {
    case "inbox": {
      const { notificationType: kind, ...filters } = fields; // a frame has a type of its own, an address has none
      const given = Object.entries({ ...filters, type: kind }).filter(([, value]) => value !== undefined && value !== null);
      return { method: "GET", path: `/v1/inbox?${new URLSearchParams(given)}` };
    }
    case "counts":
      return { method: "GET", path: "/v1/counts" };
    case "publish":
      return { method: "POST", path: "/v1/notifications", body: fields.notification };
    case "join":
    case "leave":
      return { method: "POST", path: `/v1/channels/${encodeURIComponent(fields.channel)}/${type}` };
    case "presence":
      return { method: "GET", path: `/v1/channels/${encodeURIComponent(fields.channel)}/presence` };
    default:
      return { method: "POST", path: `/v1/inbox/${type}`, body: fields };
  }
}

/**
 * A command that waits for its answer.
 * @typedef {object} Asked
 * @property {number} id
 * @property {Message} command
 * @property {boolean} lasting asked again on the next connection, if this one ends before the answer
 * @property {boolean} sent
 * @property {number} [confirmedAt] done at this position, which has not come by yet
 * @property {(result: any) => void} resolve
 * @property {(error: Error) => void} reject
 */

/** Commands that have not been confirmed, in the order in which they were given. */
export class Asking {
  /** @type {Asked[]} */
  #asked = [];
  #lastId = 0;

  /** As many may wait: more than a person can mean. */
  static MOST = 1_000;

  [Symbol.iterator]() {
    return this.#asked[Symbol.iterator]();
  }

  get isFull() {
    return this.#asked.length >= Asking.MOST;
  }

  /** What is to be foreseen, in order. */
  get intents() {
    return this.#asked.map((asked) => /** @type {import("./inbox.js").Intent} */ (asked.command));
  }

  /**
   * @param {Message} command
   * @param {boolean} lasting
   * @returns {Promise<any>} what it came to
   */
  add(command, lasting) {
    const id = (this.#lastId += 1);
    return new Promise((resolve, reject) => this.#asked.push({ id, command, lasting, sent: false, resolve, reject }));
  }

  /**
   * The next that is to be sent. One after the other is: if one is refused for now and those behind it are not, what was
   * read and then unread would end as read.
   */
  get next() {
    const isWaiting = this.#asked.some((asked) => asked.sent && asked.confirmedAt === undefined);
    return isWaiting ? undefined : this.#asked.find((asked) => !asked.sent);
  }

  /**
   * One that was sent; none when it is not known, or was confirmed.
   * @param {number} id
   */
  waiting(id) {
    return this.#asked.find((asked) => asked.id === id && asked.sent && asked.confirmedAt === undefined);
  }

  /** @param {(asked: Asked) => boolean} isOver */
  drop(isOver) {
    this.#asked = this.#asked.filter((asked) => !isOver(asked));
  }

  /**
   * The connection has ended: what lasts is sent again, the rest is refused.
   * @param {Error} error
   */
  interrupt(error) {
    const lost = this.#asked.filter((asked) => !asked.lasting);
    this.drop((asked) => !asked.lasting || asked.confirmedAt !== undefined);
    this.#asked.forEach((asked) => (asked.sent = false));
    lost.forEach((asked) => asked.reject(error));
  }

  /** @param {Error} error */
  refuseAll(error) {
    const all = this.#asked;
    this.#asked = [];
    all.filter((asked) => asked.confirmedAt === undefined).forEach((asked) => asked.reject(error));
  }
}
