// The browser client of Tidings: one object that is a person's inbox on one device, kept true over WebSocket or SSE.
//
//   import { Tidings } from "/tidings.js";
//   const tidings = new Tidings({ token: () => fetchToken(), device: "laptop-7f3a" });
//   tidings.addEventListener("change", () => render(tidings.inbox));
//   await tidings.connect();
//
// It connects again by itself, goes on where it was, and takes nothing twice. It has no dependencies, keeps nothing
// outside of memory, and runs in browsers and in Node 20 and later. docs/browser.md explains it.

import { Asking, asRequest } from "./tidings/commands.js";
import { Inbox } from "./tidings/inbox.js";
import { Pages } from "./tidings/pages.js";
import { TidingsError, ownProblem, problemOf } from "./tidings/problem.js";
import { Session } from "./tidings/session.js";

export { TidingsError };

/** @typedef {import("./tidings/inbox.js").Item} Item */
/** @typedef {import("./tidings/inbox.js").View} View */
/** @typedef {import("./tidings/inbox.js").Notification} Notification */
/** @typedef {import("./tidings/link.js").Message} Message */
/** @typedef {import("./tidings/commands.js").Asked} Asked */
/** @typedef {import("./tidings/session.js").Status} Status */
/** @typedef {import("./tidings/session.js").TokenSource} TokenSource */

/**
 * @typedef {object} Options
 * @property {TokenSource} token a token, or what fetches one: called before the first connection, and again when the
 *   server does not take the old one any more, as when it has ended
 * @property {string} [url] the server's address; without it, where this module was loaded from
 * @property {string} [device] what this device is called, the same each time
 * @property {"auto" | "ws" | "sse"} [transport] `auto`, which is the default: WebSocket, or SSE where that fails
 * @property {string} [cursor] where an earlier object ended (its `cursor`), to be told what was missed since
 * @property {number} [limit] how many positions may have been missed before the inbox is rather loaded again
 * @property {string[]} [watch] channels to watch from the start
 * @property {number} [pageSize] how many notifications are loaded at a time: 1 to 100; 20 without it
 * @property {typeof globalThis.WebSocket} [WebSocket] instead of the global one
 * @property {typeof globalThis.fetch} [fetch] instead of the global one
 * @property {() => number} [random] instead of `Math.random`
 */

/** Acknowledgements are cumulative: one in this time is enough. */
const ACK_EVERY_MS = 1_000;
/** How long what was confirmed over HTTP is foreseen, until the stream reports it. */
const CONFIRMED_MS = 2_000;
/** Messages that say where the log is, and not what happened. */
const PLACES = new Set(["heartbeat", "caughtUp"]);
/** When to try what is too much for now again, where the server does not say. */
const PAUSE_MS = 1_000;
/** Refusals after which the connection ends: what was asked lasts until the next one. */
const PASSING = new Set(["stopping", "outcome-unknown"]);

/**
 * A person's inbox on one device.
 *
 * | event | `detail` |
 * |---|---|
 * | `change` | – : `inbox` is another one; several changes at once are one event |
 * | `status` | `{ status, transport, error?, retryInMs? }` |
 * | `notification` | `{ notification, position, missed, counts }`: it has come, now or while this device was away |
 * | `caughtUp` | `{ missed }`: how many notifications had been missed |
 * | `reset` | `{ reason }`: what was missed cannot be told; the inbox is loaded again |
 * | `error` | `{ error }`: what went wrong in the background |
 * | `message` | the server's message, whatever it is |
 */
export class Tidings extends EventTarget {
  #session;
  #pages;
  #inbox = new Inbox();
  #asking = new Asking();
  /** @type {string | undefined} */
  #device;
  /** @type {string | undefined} */
  #cursor;
  #position = 0;
  /** Types of the messages that came at `#position`. @type {Set<string>} */
  #heard = new Set();
  /** @type {Message | undefined} */
  #hello;
  /** @type {Set<string>} */
  #watches;
  #missed = 0;
  #acknowledged = 0;
  #toAcknowledge = 0;
  /** @type {any} */
  #ackTimer;
  /** @type {View | undefined} */
  #view;
  /** Nothing is sent while the server has enough. */
  #isPaused = false;
  #willTell = false;
  /** @type {{ promise: Promise<void>, resolve: () => void, reject: (error: Error) => void } | undefined} */
  #ready;

  /** @param {Options} options */
  constructor(options) {
    super();
    const { url = new URL(import.meta.url).origin, transport = "auto", pageSize = 20 } = options;
    if (!/^https?:\/\//.test(url)) throw new TypeError(`expected the server's address as options.url, got ${url}`);
    if (!["auto", "ws", "sse"].includes(transport)) throw new TypeError("expected options.transport to be auto, ws or sse");
    const { WebSocket = globalThis.WebSocket, fetch = globalThis.fetch.bind(globalThis) } = options;
    const settings = { ...options, url: url.replace(/\/$/, ""), transport, WebSocket, fetch };
    this.#session = new Session(settings, {
      opening: () => ({ cursor: this.#cursor, watch: [...this.#watches] }),
      onMessage: (message) => this.#hear(message),
      onStatus: (status, more) => this.#become(status, more),
      onInterrupted: () => this.#interrupt(),
      onForbidden: (error) => this.#watchLess(error),
    });
    this.#pages = new Pages(this.#inbox, pageSize, {
      ask: (command) => this.#ask(command, false),
      isOpen: () => this.#session.isOpen,
      onLoaded: () => (this.#changed(), this.#settle()),
      onError: (error) => this.#tell("error", { error }),
    });
    this.#device = options.device;
    this.#cursor = options.cursor;
    this.#watches = new Set(options.watch);
  }

  /** What is to be shown: the inbox, with everything that was asked for already done. @returns {View} */
  get inbox() {
    this.#view ??= this.#inbox.view(this.#asking.intents);
    return this.#view;
  }

  /** @returns {Status} */
  get status() {
    return this.#session.status;
  }

  /** How it is connected, or tries to be. @returns {"ws" | "sse"} */
  get transport() {
    return this.#session.transport;
  }

  /** Where it is in the log: to be handed to a later object as `options.cursor`. */
  get cursor() {
    return this.#cursor;
  }

  /** The position up to which everything has come. */
  get position() {
    return Math.max(this.#position, this.#inbox.at);
  }

  /** Who it is, as the server says: `undefined` before the first connection. @returns {string | undefined} */
  get user() {
    return this.#hello?.user;
  }

  /** What this device is called. @returns {string | undefined} */
  get device() {
    return this.#hello?.device ?? this.#device;
  }

  /** The channels one is a member of. @returns {readonly string[]} */
  get channels() {
    return this.#hello?.channels ?? [];
  }

  /**
   * Connects, and goes on where it was. While it waits for the next try, tries at once.
   * @returns {Promise<void>} when it is live and the inbox is loaded; it rejects if that can never be
   */
  connect() {
    if (this.status === "closed") return Promise.reject(ownProblem("closed", "this object was closed"));
    if (!this.#ready) {
      /** @type {any} */
      const ready = {};
      ready.promise = new Promise((resolve, reject) => Object.assign(ready, { resolve, reject }));
      ready.promise.catch(() => {}); // whoever does not wait hears of it by the status
      this.#ready = ready;
    }
    const { promise } = /** @type {{ promise: Promise<void> }} */ (this.#ready);
    if (this.status === "offline" || this.status === "waiting") this.#session.open();
    this.#settle();
    return promise;
  }

  /** Disconnects, keeping everything: `connect` goes on, and what was asked for meanwhile is done then. */
  disconnect() {
    this.#session.disconnect();
  }

  /** Ends it for good. What was not confirmed is refused. */
  close() {
    this.#session.end(ownProblem("closed", "this object was closed"));
  }

  /** @param {string[]} notifications ids */
  read(...notifications) {
    return this.#change({ type: "read", notifications });
  }

  /** @param {string[]} notifications ids */
  unread(...notifications) {
    return this.#change({ type: "unread", notifications });
  }

  /** @param {string[]} notifications ids */
  archive(...notifications) {
    return this.#change({ type: "archive", notifications });
  }

  /** @param {string[]} notifications ids */
  unarchive(...notifications) {
    return this.#change({ type: "unarchive", notifications });
  }

  /** @param {string[]} notifications ids */
  delete(...notifications) {
    return this.#change({ type: "delete", notifications });
  }

  /** @param {string[]} notifications ids */
  pin(...notifications) {
    return this.#change({ type: "pin", notifications });
  }

  /** @param {string[]} notifications ids */
  unpin(...notifications) {
    return this.#change({ type: "unpin", notifications });
  }

  /** Says that somebody followed their action. @param {string[]} notifications ids */
  clicked(...notifications) {
    return this.#change({ type: "clicked", notifications });
  }

  /**
   * Puts notifications off: they come back unread.
   * @param {Date | string} until
   * @param {string[]} notifications ids
   */
  snooze(until, ...notifications) {
    return this.#change({ type: "snooze", notifications, until: new Date(until).toISOString() });
  }

  /** @param {string[]} notifications ids */
  wake(...notifications) {
    return this.#change({ type: "wake", notifications });
  }

  /** Reads all that has come by now, and nothing that comes later. @param {number} [upTo] a position */
  readAll(upTo = this.position) {
    return this.#change({ type: "read-all", upTo });
  }

  /** Notes that the list was opened, with all that has come by now. @param {number} [upTo] a position */
  seen(upTo = this.position) {
    return this.#change({ type: "seen", upTo });
  }

  /** @param {string} channel */
  join(channel) {
    return this.#change({ type: "join", channel });
  }

  /** @param {string} channel */
  leave(channel) {
    return this.#change({ type: "leave", channel });
  }

  /**
   * Publishes, where the token allows it; once, however often the connection breaks meanwhile.
   * @param {{ type: string, [field: string]: any }} notification as `POST /v1/notifications` takes it
   * @returns {Promise<{ id: string, position: number }>}
   */
  publish(notification) {
    return this.#change({ type: "publish", notification: { idempotencyKey: someKey(), ...notification } });
  }

  /**
   * Sees what is published to a channel live, without being a member; until `unwatch`, on later connections, too.
   * @param {string} channel
   */
  async watch(channel) {
    const isAsked = this.#session.send !== undefined;
    if (isAsked) await this.#ask({ type: "watch", channel }, false);
    this.#watches.add(channel);
    if (!isAsked && this.#session.isOpen) this.#session.open(); // a stream names its watches when it begins
  }

  /** @param {string} channel */
  async unwatch(channel) {
    this.#watches.delete(channel);
    if (this.#session.send) await this.#ask({ type: "unwatch", channel }, false);
    else if (this.#session.isOpen) this.#session.open();
  }

  /** Loads the next page of older notifications. */
  more() {
    return this.#pages.more();
  }

  /** Loads again what was loaded. It is seldom needed: what happens is told. */
  refresh() {
    this.#pages.isStale = true;
    return this.#pages.reload();
  }

  // — what the session says

  /**
   * @param {Status} status
   * @param {{ error?: Error, retryInMs?: number }} more
   */
  #become(status, more) {
    if (status === "closed" && more.error) {
      this.#asking.refuseAll(more.error);
      this.#ready?.reject(more.error);
    }
    this.#tell("status", { status, transport: this.transport, ...more });
    this.#changed();
  }

  #interrupt() {
    clearTimeout(this.#ackTimer);
    this.#ackTimer = undefined;
    this.#asking.interrupt(ownProblem("disconnected", "the connection was lost"));
  }

  /**
   * The token does not allow this: perhaps a watch that no connection had yet.
   * @param {Error} error
   */
  #watchLess(error) {
    const allowed = new Set(this.#hello?.watching);
    const refused = [...this.#watches].filter((channel) => !allowed.has(channel));
    refused.forEach((channel) => this.#watches.delete(channel));
    if (refused.length > 0) this.#tell("error", { error });
    return refused.length > 0;
  }

  // — what the server says

  /** @param {Message} message */
  #hear(message) {
    const { type, position, cursor } = message;
    if (type === "hello") this.#greet(message);
    else if (type === "answer" || type === "error") this.#conclude(message);
    else if (type === "expiring") this.#renew();
    else if (type === "counts") this.#inbox.count(/** @type {any} */ (message));
    else if (cursor !== undefined && type !== "reset") {
      if (this.#isRepeated(type, position)) return;
      this.#cursor = cursor;
      if (!PLACES.has(type)) this.#take(message);
      if (type === "caughtUp") this.#catchUp();
      this.#asking.drop(({ confirmedAt }) => confirmedAt !== undefined && confirmedAt <= this.#position);
    }
    this.#tell("message", message);
    this.#changed();
  }

  /**
   * @param {string} type
   * @param {number} position
   */
  #isRepeated(type, position) {
    if (position < this.#position || (position === this.#position && this.#heard.has(type))) return true;
    if (position > this.#position) this.#heard.clear();
    this.#heard.add(type);
    this.#position = position;
    return false;
  }

  /** @param {Message} hello */
  #greet(hello) {
    const { result, reason } = hello.resume ?? {};
    if (result !== "continued") {
      const isOfAnotherLog = (result === "reset" && reason !== "tooMany") || hello.user !== this.#hello?.user;
      if (isOfAnotherLog) this.#inbox.forget();
      this.#pages.isStale = true;
      this.#position = hello.position;
      this.#cursor = hello.cursor;
      this.#heard.clear();
    }
    this.#position = Math.max(this.#position, hello.position);
    this.#hello = hello;
    this.#acknowledged = this.#toAcknowledge = this.#position;
    this.#missed = 0;
    this.#inbox.count(hello.counts);
    this.#session.become(result === "continued" ? "catchingUp" : "live");
    if (result === "reset") this.#tell("reset", { reason });
    if (this.#pages.isStale) this.#pages.reload();
    this.#send();
    this.#settle();
  }

  #catchUp() {
    this.#tell("caughtUp", { missed: this.#missed });
    if (this.status === "catchingUp") this.#session.become("live");
    this.#settle();
  }

  /** @param {Message} message */
  #take(message) {
    const { type, position, notification, counts } = message;
    this.#pages.keep(message);
    if (this.#inbox.apply(message)) this.refresh();
    this.#noteChannels(message);
    if (type !== "notification") return;
    this.#acknowledge(position);
    const missed = this.status === "catchingUp";
    if (missed) this.#missed += 1;
    this.#tell("notification", { notification, position, missed, counts });
  }

  /** @param {Message} message */
  #noteChannels({ type, channels }) {
    if (!this.#hello || (type !== "joined" && type !== "left")) return;
    const others = this.channels.filter((channel) => !channels.includes(channel));
    this.#hello.channels = type === "joined" ? [...others, ...channels].sort() : others;
  }

  /** Says how far it has got, at once or with what comes within a second. @param {number} position */
  #acknowledge(position) {
    this.#toAcknowledge = position;
    if (this.#ackTimer !== undefined) return;
    const acknowledge = () => {
      this.#ackTimer = undefined;
      if (!this.#session.send || this.#toAcknowledge <= this.#acknowledged) return; // a stream does it by coming back
      this.#acknowledged = this.#toAcknowledge;
      this.#session.send({ type: "ack", upTo: this.#acknowledged });
      this.#ackTimer = setTimeout(acknowledge, ACK_EVERY_MS);
    };
    acknowledge();
  }

  // — commands

  /**
   * Something that is to be done, and is foreseen at once. If it is refused, it is taken back.
   * @param {Message} command
   */
  #change(command) {
    return this.#ask(command, true);
  }

  /**
   * @param {Message} command
   * @param {boolean} lasting
   * @returns {Promise<any>}
   */
  #ask(command, lasting) {
    if (this.status === "closed") return Promise.reject(ownProblem("closed", "this object was closed"));
    if (this.#asking.isFull) return Promise.reject(ownProblem("busy", `${Asking.MOST} commands are waiting`));
    const done = this.#asking.add(command, lasting);
    this.#send();
    this.#changed();
    return done;
  }

  #send() {
    const asked = this.#session.isOpen && !this.#isPaused ? this.#asking.next : undefined;
    if (!asked) return;
    asked.sent = true;
    const { send } = this.#session;
    if (send) send({ ...asked.command, id: asked.id });
    else this.#post(asked);
  }

  /** Over HTTP. @param {Asked} asked */
  async #post(asked) {
    const { attempt } = this.#session;
    const said = await this.#request(asked).catch(() => undefined);
    if (attempt !== this.#session.attempt) return; // it was interrupted, and is asked again
    if (said) this.#conclude(said);
    else this.#session.retry(ownProblem("unreachable", "the connection was lost"));
    this.#changed();
  }

  /**
   * @param {Asked} asked
   * @returns {Promise<Message>} what a WebSocket would have been answered
   */
  async #request({ id, command }) {
    const { method, path, body } = asRequest(command);
    const response = await this.#session.request(method, path, body);
    if (response.ok) return { type: "answer", id, result: await response.json() };
    const { problem } = await problemOf(response);
    if (problem.status === 401) throw new Error(problem.title); // the stream comes back with another token
    return { type: "error", id, problem };
  }

  /** @param {Message} message an answer or an error */
  #conclude({ type, id, result, problem }) {
    const asked = this.#asking.waiting(id);
    if (!asked) return void (type === "error" && this.#tell("error", { error: new TidingsError(problem) }));
    if (type === "answer") {
      // A stream tells by itself what has changed: until then it is foreseen, so that nothing flickers.
      const isToCome = this.transport === "sse" && result.position > this.#position && asked.lasting;
      if (isToCome) {
        asked.confirmedAt = result.position;
        setTimeout(() => (this.#asking.drop((other) => other === asked), this.#changed()), CONFIRMED_MS);
      } else this.#asking.drop((other) => other === asked);
      asked.resolve(result);
      return this.#send();
    }
    const error = new TidingsError(problem);
    if (error.code === "too-many-requests") return this.#pause(asked, problem.retryAfterMs);
    if (PASSING.has(error.code) && asked.lasting) return; // it is sent again on the next connection
    this.#asking.drop((other) => other === asked);
    asked.reject(error);
    this.#send();
  }

  /**
   * It was too much for now: it is sent again, and nothing else until then.
   * @param {Asked} asked
   * @param {number} [forMs]
   */
  #pause(asked, forMs = PAUSE_MS) {
    asked.sent = false;
    if (this.#isPaused) return;
    this.#isPaused = true;
    setTimeout(() => {
      this.#isPaused = false;
      this.#send();
    }, forMs);
  }

  /** Goes on with another token before this one ends; if that fails, the next connection fetches one. */
  async #renew() {
    try {
      const token = await this.#session.anotherToken();
      if (token === undefined) return;
      await this.#ask({ type: "token", token }, false);
      this.#session.useToken(token);
    } catch (error) {
      this.#tell("error", { error });
    }
  }

  // — telling

  #settle() {
    if (this.status !== "live" || this.#pages.isStale || !this.#inbox.loaded) return;
    this.#ready?.resolve();
    this.#ready = undefined;
  }

  #changed() {
    this.#view = undefined;
    if (this.#willTell) return;
    this.#willTell = true;
    queueMicrotask(() => {
      this.#willTell = false;
      this.#tell("change", undefined);
    });
  }

  /**
   * @param {string} type
   * @param {any} detail
   */
  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

/** Some text that nobody else has. `crypto.randomUUID` is not there on pages without TLS. */
function someKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
