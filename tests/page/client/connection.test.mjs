// What becomes of a client when connections, tokens and servers do not last.
import assert from "node:assert/strict";
import { test } from "node:test";

import { Backoff } from "../../../web/tidings/backoff.js";
import { eventParser } from "../../../web/tidings/link.js";
import { client, happens, ownServer, publish, shown, somebody, token, truth, until, url, wire } from "../world.mjs";

for (const transport of ["ws", "sse"]) {
  test(`${transport}: a device that comes back has what it missed, each thing once, marked as missed`, async (t) => {
    const ada = somebody("ada");
    const device = client(t, ada, { transport, device: "phone" });
    await device.connect();
    const heard = [];
    device.addEventListener("notification", ({ detail }) => heard.push([detail.notification.title, detail.missed]));
    await publish("live", { users: [ada] });
    await until("it came", () => heard.length === 1);
    device.disconnect();
    assert.equal(device.status, "offline");
    await publish("missed 1", { users: [ada] });
    await publish("missed 2", { users: [ada] });
    const caughtUp = happens(device, "caughtUp");
    await device.connect();
    assert.equal((await caughtUp).missed, 2);
    await publish("live again", { users: [ada] });
    await until("it came", () => heard.length === 4);
    assert.deepEqual(heard, [["live", false], ["missed 1", true], ["missed 2", true], ["live again", false]]);
    assert.deepEqual(shown(device), await truth(ada));
  });

  test(`${transport}: what is asked for without a connection is foreseen, and done when there is one`, async (t) => {
    const ada = somebody("ada");
    const { id } = await publish("hello", { users: [ada] });
    const device = client(t, ada, { transport });
    await device.connect();
    device.disconnect();
    const read = device.read(id);
    assert.equal(device.inbox.unread, 0);
    assert.equal((await truth(ada)).unread, 1);
    await device.connect();
    await read;
    assert.equal((await truth(ada)).unread, 0);
  });

  test(`${transport}: what was asked when the connection broke is asked again`, async (t) => {
    const ada = somebody("ada");
    const { id } = await publish("hello", { users: [ada] });
    const line = await wire(t);
    const device = client(t, ada, { transport, url: line.url });
    await device.connect();
    line.state.isDeaf = true;
    const read = device.read(id);
    await new Promise((resolve) => setTimeout(resolve, 50));
    line.cut();
    line.state.isDeaf = false;
    await read;
    assert.equal((await truth(ada)).unread, 0);
  });

  test(`${transport}: more commands than a server takes at once are all done, in their order`, async (t) => {
    const ada = somebody("ada");
    const { id } = await publish("hello", { users: [ada] });
    const device = client(t, ada, { transport });
    await device.connect();
    device.disconnect();
    const asked = Array.from({ length: 150 }, (_, n) => (n % 2 ? device.unread(id) : device.read(id)));
    await device.connect();
    const positions = (await Promise.all(asked)).map(({ position }) => position);
    assert.deepEqual(positions, [...new Set(positions)].sort((one, other) => one - other));
    assert.deepEqual(shown(device), await truth(ada));
  });

  test(`${transport}: a connection that breaks is made again`, async (t) => {
    const ada = somebody("ada");
    const line = await wire(t);
    const device = client(t, ada, { transport, url: line.url });
    await device.connect();
    const waiting = happens(device, "status");
    line.cut();
    const { status, error, retryInMs } = await waiting;
    assert.equal(status, "waiting");
    assert.match(error.message, /lost/);
    assert.ok(retryInMs >= 0 && retryInMs <= 3_000);
    await publish("meanwhile", { users: [ada] });
    await until("it is back", () => device.status === "live" && device.inbox.items.length === 1);
  });

  test(`${transport}: a token that ends is fetched anew, and nothing is lost`, async (t) => {
    const ada = somebody("ada");
    const [asked, began] = [[], Date.now()];
    const fetchToken = ({ refused }) => (asked.push(refused), token({ sub: ada }, asked.length === 1 ? -3 : 3600));
    const device = client(t, ada, { transport, token: fetchToken });
    const [statuses, messages] = [[], []];
    device.addEventListener("status", ({ detail }) => statuses.push(detail.status));
    device.addEventListener("message", ({ detail }) => messages.push(detail));
    await device.connect(); // a second or two are left: clocks may be five seconds apart
    await until("another was fetched", () => asked.length > 1);
    await until("the old one has ended", () => messages.length && Date.now() > began + 3_000);
    await publish("hello", { users: [ada] });
    await until("it came", () => device.inbox.items.length === 1);
    // Where the server says that a token is about to end, the connection goes on with the other one.
    const goesOn = messages.some(({ type }) => type === "expiring");
    assert.deepEqual(asked, [false, !goesOn]);
    assert.equal(statuses.filter((status) => status === "connecting").length, goesOn ? 1 : 2);
  });

  test(`${transport}: a token that is not taken ends it, with the server's reason`, async (t) => {
    const device = client(t, "ada", { transport, token: "forged" });
    await assert.rejects(device.connect(), /token/);
    assert.equal(device.status, "closed");
    await assert.rejects(device.read("0190f0a2-7c1e-7b3a-9f57-2f1c54d3a001"), /closed/);
    let asked = 0;
    const stubborn = client(t, "ada", { transport, token: () => ((asked += 1), "forged") });
    await assert.rejects(stubborn.connect(), /token/);
    assert.equal(asked, 4);
    const nobody = client(t, "ada", { transport, token: token({ scope: "publish" }) });
    await assert.rejects(nobody.connect());
    assert.equal(nobody.status, "closed");
  });
}

test("without WebSocket it is SSE, and says so", async (t) => {
  const ada = somebody("ada");
  const line = await wire(t);
  line.state.hasWebSocket = false;
  const device = client(t, ada, { url: line.url });
  await device.connect();
  assert.equal(device.transport, "sse");
  const { id } = await publish("hello", { users: [ada] });
  await until("it came", () => device.inbox.items.length === 1);
  await device.read(id);
  line.cut();
  await until("it noticed", () => device.status !== "live");
  await until("it is back", () => device.status === "live");
  assert.equal(device.transport, "sse");
  const strict = client(t, ada, { url: line.url, transport: "ws" });
  strict.connect();
  await until("it goes on trying", () => strict.status === "waiting");
});

test("a client without the class WebSocket uses SSE", async (t) => {
  const { WebSocket } = globalThis;
  globalThis.WebSocket = undefined;
  t.after(() => (globalThis.WebSocket = WebSocket));
  const device = client(t, somebody("ada"));
  await device.connect();
  assert.equal(device.transport, "sse");
});

test("what comes twice is taken once", async (t) => {
  const ada = somebody("ada");
  class Echo extends WebSocket {
    set onmessage(listener) {
      super.onmessage = (event) => (listener(event), listener(event));
    }
  }
  const device = client(t, ada, { WebSocket: Echo, transport: "ws" });
  await device.connect();
  let heard = 0;
  device.addEventListener("notification", () => (heard += 1));
  const { id } = await publish("hello", { channels: ["everyone"] });
  await publish("again", { users: [ada] });
  await until("both came", () => heard >= 2);
  assert.equal(heard, 2);
  await device.read(id);
  assert.deepEqual(shown(device), await truth(ada));
});

test("what is too much for now is asked again, before what came after it", async (t) => {
  const ada = somebody("ada");
  const { id } = await publish("hello", { users: [ada] });
  let refusals = 0;
  class Busy extends WebSocket {
    send(text) {
      const { type, id: asked } = JSON.parse(text);
      if (type !== "read" || (refusals += 1) > 2) return super.send(text);
      const problem = { type: "urn:tidings:problem:too-many-requests", status: 429, retryAfterMs: 30 };
      setTimeout(() => this.onmessage({ data: JSON.stringify({ type: "error", id: asked, problem }) }), 10);
    }
  }
  const device = client(t, ada, { WebSocket: Busy, transport: "ws" });
  await device.connect();
  await Promise.all([device.read(id), device.unread(id)]);
  assert.equal(refusals, 3);
  assert.equal((await truth(ada)).unread, 1);
});

test("who missed too much is told to load again, and does", async (t) => {
  const ada = somebody("ada");
  const device = client(t, ada, { limit: 0 });
  await device.connect();
  device.disconnect();
  await publish("one", { users: [ada] });
  await publish("two", { users: [ada] });
  const reset = happens(device, "reset");
  await device.connect();
  assert.deepEqual(await reset, { reason: "tooMany" });
  assert.deepEqual(shown(device), await truth(ada));
});

test("a server that stops says when to come back, and its clients do, with what they were asked", async (t) => {
  const own = await ownServer(t);
  const ada = token({ sub: "ada" });
  const devices = ["ws", "sse"].map((transport) => client(t, "ada", { url: own.url, transport }));
  await Promise.all(devices.map((device) => device.connect()));
  const lost = Promise.all(devices.map((device) => happens(device, "status")));
  await own.stop();
  for (const { status, error, retryInMs } of await lost) {
    assert.equal(status, "waiting");
    assert.match(error.message, /stopping/);
    assert.ok(retryInMs > 0 && retryInMs < 10_000);
  }
  assert.ok((await lost)[1].retryInMs >= 1_000, "a stream's hint is a second at least");
  const joined = devices[0].readAll();
  await own.start();
  await Promise.all(devices.map((device) => device.connect()));
  await joined;
  for (const device of devices) assert.deepEqual(shown(device), await truth("ada", ada, own.url));
});

test("a page of another origin may load the client", async () => {
  const response = await fetch(`${url}/tidings.js`);
  assert.equal(response.headers.get("access-control-allow-origin"), "*");
});

test("a pause is by chance between nothing and a bound that doubles, and not shorter than the server asked", () => {
  const longest = new Backoff(() => 1);
  assert.deepEqual([1, 2, 3, 4, 5, 6, 7, 8].map(() => longest.next()), [500, 1e3, 2e3, 4e3, 8e3, 16e3, 30e3, 30e3]);
  longest.reset();
  assert.equal(longest.next(), 500);
  assert.equal(new Backoff(() => 0).next(), 0);
  assert.equal(new Backoff(() => 0.5).next(), 250);
  assert.equal(new Backoff(() => 0.5).next(4_000), 4_000);
});

test("events are found however the bytes are cut", () => {
  const text = 'retry: 1500\n\n: a comment\nid: 1\nevent: x\ndata: {"a":1}\n\ndata:one\r\ndata: two\r\n\r\n';
  for (let size = 1; size <= text.length; size += 1) {
    const events = [];
    const parse = eventParser((event) => events.push(event));
    for (let at = 0; at < text.length; at += size) parse(text.slice(at, at + size));
    assert.deepEqual(events, [{ retry: 1500 }, { data: '{"a":1}' }, { data: "one\ntwo" }], `cut every ${size}`);
  }
});
