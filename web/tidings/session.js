// Stays connected: opens one connection after the other, over WebSocket or SSE, with tokens that are still good, and
// waits in between as the server and the backoff say. Does not know what messages mean, but for hello.

import { Backoff } from "./backoff.js";
import { openSocket, openStream } from "./link.js";

/** @typedef {import("./link.js").Message} Message */
/** @typedef {import("./link.js").Ending} Ending */

/**
 * `offline`: not connected, and not trying. `connecting`: trying. `catchingUp`: connected, what was missed is coming.
 * `live`: connected. `waiting`: the connection was lost, the next try comes by itself. `closed`: over for good.
 * @typedef {"offline" | "connecting" | "catchingUp" | "live" | "waiting" | "closed"} Status
 */

/** @typedef {string | ((why: { refused: boolean }) => string | Promise<string>)} TokenSource */

/**
 * @typedef {object} Settings
 * @property {string} url
 * @property {TokenSource} token
 * @property {"auto" | "ws" | "sse"} transport
 * @property {string} [device]
 * @property {number} [limit]
 * @property {typeof globalThis.WebSocket} WebSocket
 * @property {typeof globalThis.fetch} fetch
 * @property {() => number} [random]
 */

/**
 * Whose session it is.
 * @typedef {object} Host
 * @property {() => { cursor?: string, watch: string[] }} opening where to go on
 * @property {(message: Message) => void} onMessage
 * @property {(status: Status, more: { error?: Error, retryInMs?: number }) => void} onStatus
 * @property {() => void} onInterrupted a connection has ended, for whatever reason
 * @property {(error: Error) => boolean} onForbidden whether it wants less from now on
 */

/** A token that was just fetched and is refused so often in a row will not get better. */
const REFUSALS_MOST = 3;

/** What keeps a client connected. */
export class Session {
  #settings;
  #host;
  #backoff;
  /** @type {Status} */
  #status = "offline";
  /** @type {"ws" | "sse"} */
  #preferred;
  /** @type {import("./link.js").Link | undefined} */
  #link;
  /** Which connection it is: what an earlier one still says is not heard. */
  #attempt = 0;
  /** @type {any} */
  #timer;
  /** @type {string | undefined} */
  #token;
  #refusals = 0;
  #onOnline = () => void (this.#status === "waiting" && this.open());

  /**
   * @param {Settings} settings
   * @param {Host} host
   */
  constructor(settings, host) {
    this.#settings = settings;
    this.#host = host;
    this.#backoff = new Backoff(settings.random);
    const { transport, WebSocket } = settings;
    this.#preferred = transport === "sse" || (transport === "auto" && !WebSocket) ? "sse" : "ws";
  }

  get status() {
    return this.#status;
  }

  /** How it is connected, or tries to be. */
  get transport() {
    return this.#link?.transport ?? this.#preferred;
  }

  /** Which connection it is: a number that grows. */
  get attempt() {
    return this.#attempt;
  }

  get isOpen() {
    return this.#status === "live" || this.#status === "catchingUp";
  }

  /** Writes to a WebSocket; `undefined` while there is none, or when it is a stream. */
  get send() {
    return this.isOpen ? this.#link?.send : undefined;
  }

  /** Connects now, whatever was before. */
  async open() {
    globalThis.addEventListener?.("online", this.#onOnline);
    this.#leave();
    this.become("connecting");
    const attempt = this.#attempt;
    const { url, device, limit, token, WebSocket, fetch } = this.#settings;
    try {
      this.#token ??= typeof token === "string" ? token : await token({ refused: this.#refusals > 0 });
    } catch (error) {
      if (attempt === this.#attempt) this.retry(/** @type {Error} */ (error));
      return;
    }
    if (attempt !== this.#attempt) return;
    const opening = { url, device, limit, token: this.#token, ...this.#host.opening() };
    const listener = {
      onMessage: (/** @type {Message} */ message) => attempt === this.#attempt && this.#hear(message),
      onEnd: (/** @type {Ending} */ ending) => attempt === this.#attempt && this.#lose(ending),
    };
    const isSocket = this.#preferred === "ws";
    this.#link = isSocket ? openSocket(opening, listener, WebSocket) : openStream(opening, listener, fetch);
  }

  /**
   * Another token, as this one is about to end; `undefined` where there is none to be had.
   * @returns {Promise<string | undefined>}
   */
  async anotherToken() {
    const { token } = this.#settings;
    return typeof token === "string" ? undefined : token({ refused: false });
  }

  /** The connection goes on with this one. @param {string} token */
  useToken(token) {
    this.#token = token;
  }

  /** Disconnects; `open` goes on. */
  disconnect() {
    if (this.#status === "closed") return;
    this.#leave();
    this.become("offline");
  }

  /** Ends for good. @param {Error} error why */
  end(error) {
    if (this.#status === "closed") return;
    globalThis.removeEventListener?.("online", this.#onOnline);
    this.#leave();
    this.become("closed", { error });
  }

  /**
   * Gives the connection up, and tries again in a while.
   * @param {Error} error
   * @param {number} [retryAfterMs] when the server wants to see us again
   */
  retry(error, retryAfterMs) {
    this.#leave();
    const retryInMs = this.#backoff.next(retryAfterMs);
    this.#timer = setTimeout(() => this.open(), retryInMs);
    this.become("waiting", { error, retryInMs });
  }

  /**
   * @param {Status} status
   * @param {{ error?: Error, retryInMs?: number }} [more]
   */
  become(status, more = {}) {
    this.#status = status;
    this.#host.onStatus(status, more);
  }

  /**
   * Asks over HTTP, as whom the connection is.
   * @param {string} method
   * @param {string} path
   * @param {object} [body]
   */
  request(method, path, body) {
    const { url, fetch } = this.#settings;
    /** @type {Record<string, string>} */
    const headers = { authorization: `Bearer ${this.#token}` };
    if (body) headers["content-type"] = "application/json";
    return fetch(`${url}${path}`, { method, headers, body: body && JSON.stringify(body), cache: "no-store" });
  }

  #leave() {
    this.#attempt += 1;
    clearTimeout(this.#timer);
    this.#link?.close();
    this.#link = undefined;
    this.#host.onInterrupted();
  }

  /** @param {Message} message */
  #hear(message) {
    if (message.type === "hello") {
      this.#backoff.reset();
      this.#refusals = 0;
    }
    this.#host.onMessage(message);
  }

  /** @param {Ending} ending */
  #lose(ending) {
    const { opened, code, error, retryAfterMs } = ending;
    if (code === 4401) return this.#renew(ending);
    if (code === 4403) return this.#host.onForbidden(error) ? this.retry(error) : this.end(error);
    if (!opened && this.#settings.transport === "auto") {
      const isUpgradeLost = this.#preferred === "ws" && (code === undefined || code === 1006);
      if (isUpgradeLost) {
        this.#preferred = "sse";
        return void this.open(); // at once: if it is the server that is gone, this fails as well
      }
      if (this.#settings.WebSocket) this.#preferred = "ws";
    }
    this.retry(error, retryAfterMs);
  }

  /** The token is not taken any more. @param {Ending} ending */
  #renew({ opened, error }) {
    this.#refusals = opened ? 1 : this.#refusals + 1;
    this.#token = undefined;
    if (typeof this.#settings.token === "string" || this.#refusals > REFUSALS_MOST) return this.end(error);
    if (this.#refusals === 1) this.open();
    else this.retry(error);
  }
}
