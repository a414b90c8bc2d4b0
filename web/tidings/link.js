// One connection to the server, over WebSocket or SSE: it hands on messages and says how it ended. It never connects
// again by itself, and does not know what messages mean.

import { ownProblem, problemOf, retryAfterMs } from "./problem.js";

/** How long a connection may take until the server says hello. A proxy may swallow a handshake without a word. */
const HELLO_PATIENCE_MS = 10_000;
/** Characters of one server-sent event at most: beyond that, it is none of ours. */
const EVENT_CHARS_MOST = 16 << 20;

/** @typedef {import("./problem.js").TidingsError} TidingsError */
/** @typedef {{ type: string, [field: string]: any }} Message a message of the server, or a command */

/**
 * How a connection ended.
 * @typedef {object} Ending
 * @property {boolean} opened whether the server had said hello
 * @property {number} [code] the close code of the WebSocket
 * @property {TidingsError} error why, in words
 * @property {number} [retryAfterMs] when to come back, if the server said so
 */

/**
 * Where to connect, as whom, and where to go on.
 * @typedef {object} Opening
 * @property {string} url the server's address
 * @property {string} token
 * @property {string} [device]
 * @property {string} [cursor]
 * @property {number} [limit]
 * @property {string[]} watch
 */

/**
 * What a connection tells.
 * @typedef {object} Listener
 * @property {(message: Message) => void} onMessage
 * @property {(ending: Ending) => void} onEnd once, and nothing after it
 */

/**
 * An open connection. `send` is there if it takes commands.
 * @typedef {{ transport: "ws" | "sse", send?: (message: Message) => void, close: () => void }} Link
 */

/**
 * Hands on messages until the connection ends, and then its end, once; gives up when nothing comes for too long.
 * @param {Listener} listener
 * @param {() => void} abandon cuts the connection
 */
function guard(listener, abandon) {
  let opened = false;
  let ended = false;
  let patience = HELLO_PATIENCE_MS;
  /** @type {any} */
  let timer = 0;
  /** @param {Omit<Ending, "opened">} ending */
  const end = (ending) => {
    if (ended) return;
    ended = true;
    clearTimeout(timer);
    abandon();
    listener.onEnd({ opened, ...ending });
  };
  const wait = () => {
    clearTimeout(timer);
    timer = setTimeout(() => end({ error: ownProblem("silence", "nothing came from the server") }), patience);
  };
  /** @param {Message} message */
  const hear = (message) => {
    if (ended) return;
    if (message.type === "hello") {
      opened = true;
      const every = message.limits?.heartbeatSeconds ?? message.heartbeatSeconds ?? 25;
      patience = every * 2_000 + 5_000; // two heartbeats, and what the network may take
    }
    wait();
    listener.onMessage(message);
  };
  wait();
  return { hear, end, quiet: () => ((ended = true), clearTimeout(timer)) };
}

/**
 * Connects over WebSocket. The token goes in the first frame, where no log between us and the server has it.
 * @param {Opening} opening
 * @param {Listener} listener
 * @param {typeof globalThis.WebSocket} WebSocket
 * @returns {Link}
 */
export function openSocket(opening, listener, WebSocket) {
  const { url, token, device, cursor, limit, watch } = opening;
  const socket = new WebSocket(`${url.replace(/^http/, "ws")}/v1/ws`);
  const link = guard(listener, () => socket.close());
  /** @type {Message | undefined} */
  let closing;
  socket.onopen = () => socket.send(JSON.stringify({ type: "token", token, device, cursor, limit, watch }));
  socket.onmessage = ({ data }) => {
    const message = JSON.parse(data);
    if (message.type === "closing") closing = message;
    else link.hear(message);
  };
  const end = (code = 1006, reason = "") => {
    const said = closing?.code ?? code;
    const error = ownProblem(`closed-${said}`, closing?.reason || reason || "the connection was lost");
    link.end({ code: said, error, retryAfterMs: closing?.retryAfterMs });
  };
  socket.onclose = ({ code, reason }) => end(code, reason);
  socket.onerror = () => end(); // some say no more than this when the handshake fails
  return {
    transport: "ws",
    send: (message) => socket.send(JSON.stringify(message)),
    close: () => (link.quiet(), socket.close(1000)),
  };
}

/**
 * Connects over SSE, by `fetch`: unlike an `EventSource` it sends the token in a header, and says why it is refused.
 * @param {Opening} opening
 * @param {Listener} listener
 * @param {typeof globalThis.fetch} fetch
 * @returns {Link}
 */
export function openStream(opening, listener, fetch) {
  const { url, token, device, cursor, limit, watch } = opening;
  const query = new URLSearchParams(watch.map((channel) => ["watch", channel]));
  if (device !== undefined) query.set("device", device);
  if (cursor !== undefined) query.set("cursor", cursor);
  if (limit !== undefined) query.set("limit", String(limit));
  const control = new AbortController();
  const link = guard(listener, () => control.abort());
  /** @type {number | undefined} */
  let retry;
  /** @type {string | undefined} */
  let reason;
  const hear = (/** @type {ServerEvent} */ event) => {
    if (event.retry !== undefined) retry = event.retry;
    if (event.data === undefined) return;
    const message = JSON.parse(event.data);
    if (message.type === "closing") reason = message.reason;
    else link.hear(message);
  };
  const run = async () => {
    const headers = { authorization: `Bearer ${token}`, accept: "text/event-stream" };
    const response = await fetch(`${url}/v1/events?${query}`, { headers, cache: "no-store", signal: control.signal });
    if (!response.ok || !response.body) {
      const error = await problemOf(response);
      return link.end({ error, code: closeCode(response.status), retryAfterMs: retryAfterMs(response) });
    }
    const parse = eventParser(hear);
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let part = await reader.read(); !part.done; part = await reader.read()) parse(part.value);
    const ended = reason === "the token has ended" ? 4401 : undefined;
    link.end({ code: ended, error: ownProblem("closed", reason ?? "the stream ended"), retryAfterMs: retry });
  };
  run().catch(() => link.end({ error: ownProblem("unreachable", "the connection was lost"), retryAfterMs: retry }));
  return { transport: "sse", close: () => (link.quiet(), control.abort()) };
}

/**
 * The close code of a WebSocket that says the same.
 * @param {number} status
 */
function closeCode(status) {
  if (status === 401) return 4401;
  return status === 403 ? 4403 : undefined;
}

/** @typedef {{ data?: string, retry?: number }} ServerEvent */

/**
 * Takes text as it comes and calls back with every event that is complete (WHATWG HTML, 9.2.6).
 * @param {(event: ServerEvent) => void} onEvent
 */
export function eventParser(onEvent) {
  let rest = "";
  /** @type {ServerEvent} */
  let event = {};
  /** @param {string} line */
  const take = (line) => {
    if (line === "") {
      onEvent(event);
      event = {};
      return;
    }
    const [, field, value] = /^([^:]*):? ?(.*)$/s.exec(line) ?? [];
    if (field === "data") event.data = event.data === undefined ? value : `${event.data}\n${value}`;
    if (field === "retry" && /^\d+$/.test(value)) event.retry = Number(value);
  };
  return (/** @type {string} */ text) => {
    const lines = (rest + text).split(/\r\n|\n|\r(?=[^])/);
    rest = lines.pop() ?? "";
    if (rest.length > EVENT_CHARS_MOST) throw ownProblem("too-large", "an event of the server does not end");
    lines.forEach(take);
  };
}
