// What the tests in Node share: the real server, tokens as any issuer would make them, and a wire that can be cut.
import { spawn } from "node:child_process";
import { createHmac } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import net from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";

import { Tidings } from "../../web/tidings.js";

export const url = process.env.TIDINGS_URL;
const secret = process.env.TIDINGS_SECRET;
let people = 0;

/** A name that no other test has. */
export function somebody(name) {
  people += 1;
  return `${name}-${process.pid}-${people}`;
}

export function token(claims, seconds = 3600) {
  const now = Math.floor(Date.now() / 1000);
  const encode = (part) => Buffer.from(JSON.stringify(part)).toString("base64url");
  const signed = `${encode({ alg: "HS256", typ: "JWT" })}.${encode({ iat: now, exp: now + seconds, ...claims })}`;
  return `${signed}.${createHmac("sha256", secret).update(signed).digest("base64url")}`;
}

export const service = token({ scope: "publish admin" });

export async function ask(method, where, body, as = service, at = url) {
  const headers = { authorization: `Bearer ${as}`, "content-type": "application/json" };
  const response = await fetch(`${at}${where}`, { method, headers, body: body && JSON.stringify(body) });
  if (response.status === 429) {
    await new Promise((resolve) => setTimeout(resolve, Number(response.headers.get("retry-after")) * 1000));
    return ask(method, where, body, as, at);
  }
  if (!response.ok) throw new Error(`${method} ${where}: ${response.status} ${await response.text()}`);
  return response.json();
}

export function publish(title, audience, more = {}) {
  return ask("POST", "/v1/notifications", { type: "note", title, audience, ...more });
}

/** A client of somebody that ends with the test. */
export function client(test, user, options = {}) {
  const made = new Tidings({ url, token: token({ sub: user, channels: ["topic:*"] }), random: () => 0.05, ...options });
  test.after(() => made.close());
  return made;
}

/** Waits until something is so; says what was expected if it never is. */
export async function until(what, isSo, seconds = 20) {
  const end = Date.now() + seconds * 1000;
  while (!(await isSo())) {
    if (Date.now() > end) throw new Error(`expected that ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

export function happens(target, type) {
  return new Promise((resolve) => target.addEventListener(type, ({ detail }) => resolve(detail), { once: true }));
}

/** What the server says that somebody's inbox is, in the form in which a client shows it. */
export async function truth(user, as = token({ sub: user }), at = url) {
  const items = [];
  let page = { next: undefined };
  do {
    const cursor = page.next ? `&cursor=${page.next}` : "";
    page = await ask("GET", `/v1/inbox?limit=100${cursor}`, undefined, as, at);
    items.push(...page.items.map(({ archived, ...item }) => item));
  } while (page.next);
  return { items, unread: page.unread, unseen: page.unseen };
}

export function shown({ inbox: { items, unread, unseen } }) {
  return JSON.parse(JSON.stringify({ items, unread, unseen }));
}

/** A wire between client and server that can be cut, be without WebSocket, and swallow what the client says. */
export async function wire(test, to = url) {
  const sockets = new Set();
  const state = { isCut: false, isDeaf: false, hasWebSocket: true };
  const server = net.createServer((near) => {
    if (state.isCut) return near.destroy();
    const far = net.connect(new URL(to).port, "127.0.0.1");
    for (const [one, other] of [[near, far], [far, near]]) {
      sockets.add(one);
      one.on("error", () => {}).on("close", () => (sockets.delete(one), other.destroy()));
    }
    near.on("data", (bytes) => {
      if (state.isDeaf) return;
      if (!state.hasWebSocket && /^upgrade: *websocket/im.test(bytes.toString("latin1"))) {
        return near.end("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
      }
      far.write(bytes);
    });
    far.pipe(near);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const cut = () => sockets.forEach((socket) => socket.destroy());
  test.after(() => (cut(), server.close()));
  return { url: `http://127.0.0.1:${server.address().port}`, state, cut };
}

/** A server of a test's own, that it may stop and start again. */
export async function ownServer(test, ...flags) {
  const directory = mkdtempSync(path.join(tmpdir(), "tidings-page-"));
  const own = { url: "", process: undefined };
  let listen = "127.0.0.1:0";
  own.start = async () => {
    const arguments_ = ["serve", "--listen", listen, "--data-dir", path.join(directory, "data"), ...flags];
    const { TIDINGS_BINARY, TIDINGS_URL, ...env } = process.env; // of these tests, not of the server
    own.process = spawn(TIDINGS_BINARY, arguments_, { env, stdio: ["ignore", "pipe", "inherit"] });
    let said = "";
    await new Promise((resolve, reject) => {
      own.process.stdout.on("data", (text) => /health/.test((said += text)) && resolve());
      own.process.on("exit", () => reject(new Error("the server ended")));
    });
    listen = /http:\/\/([^/]+)/.exec(said)[1];
    own.url = `http://${listen}`;
  };
  own.stop = () => {
    const ended = new Promise((resolve) => own.process.on("exit", resolve));
    own.process.kill("SIGTERM");
    return ended;
  };
  await own.start();
  test.after(() => (own.process.kill("SIGKILL"), rmSync(directory, { recursive: true, force: true })));
  return own;
}
