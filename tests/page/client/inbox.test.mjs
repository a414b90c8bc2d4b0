// The inbox of a client, live, over both transports.
import assert from "node:assert/strict";
import { test } from "node:test";
import { isDeepStrictEqual } from "node:util";

import { Tidings } from "../../../web/tidings.js";
import { ask, client, happens, publish, service, shown, somebody, token, truth, until } from "../world.mjs";

for (const transport of ["ws", "sse"]) {
  test(`${transport}: the inbox is loaded, page by page, and goes on live`, async (t) => {
    const ada = somebody("ada");
    for (let n = 0; n < 5; n += 1) await publish(`before ${n}`, { users: [ada] });
    const device = client(t, ada, { transport, pageSize: 2 });
    await device.connect();
    assert.equal(device.user, ada);
    assert.equal(device.transport, transport);
    assert.deepEqual(device.channels, ["everyone"]);
    assert.equal(device.inbox.unread, 5);
    assert.deepEqual(device.inbox.items.map((item) => item.notification.title), ["before 4", "before 3"]);
    assert.equal(device.inbox.more, true);
    await device.more();
    await device.more();
    assert.equal(device.inbox.more, false);
    const heard = happens(device, "notification");
    await publish("live", { users: [ada] });
    assert.equal((await heard).missed, false);
    assert.deepEqual(shown(device), await truth(ada));
    assert.equal(device.inbox.items.length, 6);
  });

  test(`${transport}: every command is done, foreseen at once, and followed by the other device`, async (t) => {
    const ada = somebody("ada");
    for (let n = 0; n < 4; n += 1) await publish(`note ${n}`, { users: [ada] });
    const [device, other] = [client(t, ada, { transport }), client(t, ada)];
    await Promise.all([device.connect(), other.connect()]);
    const id = (n) => device.inbox.items.find((item) => item.notification.title === `note ${n}`)?.notification.id;
    const agree = async (what, isSo) => {
      assert.ok(isSo(device), `${what} is foreseen`);
      await until(`the other device knows: ${what}`, () => isSo(other));
      await until(`both are as the server says: ${what}`, async () => {
        const is = await truth(ada);
        return isDeepStrictEqual(shown(device), is) && isDeepStrictEqual(shown(other), is);
      });
    };
    const ids = [0, 1, 2, 3].map(id);
    const find = ({ inbox }, n) => inbox.items.find((item) => item.notification.id === ids[n]);
    device.read(ids[0], ids[1]);
    await agree("read", (one) => find(one, 0).read && find(one, 1).read && one.inbox.unread === 2);
    device.unread(ids[0]);
    await agree("unread", (one) => !find(one, 0).read && one.inbox.unread === 3);
    device.pin(ids[2]);
    await agree("pinned", (one) => find(one, 2).pinned);
    device.unpin(ids[2]);
    await agree("unpinned", (one) => !find(one, 2).pinned);
    device.seen();
    await agree("seen", (one) => one.inbox.unseen === 0);
    device.archive(ids[3]);
    await agree("archived", (one) => !find(one, 3) && one.inbox.unread === 2);
    await device.unarchive(ids[3]);
    await until("it is back", () => find(device, 3) && find(other, 3));
    device.snooze(new Date(Date.now() + 3_600_000), ids[2]);
    await agree("snoozed", (one) => !find(one, 2) && one.inbox.unread === 2);
    await device.wake(ids[2]);
    await until("it is on top", () => [device, other].every((one) => one.inbox.items[0]?.notification.id === ids[2]));
    device.clicked(ids[2]);
    await agree("clicked", (one) => find(one, 2).read);
    device.readAll();
    await agree("all read", (one) => one.inbox.unread === 0);
    device.delete(ids[0]);
    await agree("deleted", (one) => !find(one, 0));
    await device.join("topic:orders");
    await until("it is a member", () => other.channels.includes("topic:orders"));
    await publish("an order", { channels: ["topic:orders"] });
    await until("it came", () => [device, other].every((one) => one.inbox.items[0].notification.title === "an order"));
    await device.leave("topic:orders");
    await until("it went", () => [device, other].every((one) => one.inbox.items[0].notification.title !== "an order"));
    await agree("left", () => true);
  });

  test(`${transport}: what is refused is taken back, and says why`, async (t) => {
    const [ada, ben] = [somebody("ada"), somebody("ben")];
    const theirs = await publish("not hers", { users: [ben] });
    const hers = await publish("hers", { users: [ada] });
    const device = client(t, ada, { transport });
    await device.connect();
    const refused = device.read(hers.id, theirs.id);
    assert.equal(device.inbox.unread, 0);
    await assert.rejects(refused, (error) => error.code === "no-such-notification" && /notifications\[1\]/.test(error.message));
    assert.equal(device.inbox.unread, 1);
    assert.equal(device.inbox.items[0].read, false);
    await assert.rejects(device.publish({ type: "note", audience: { users: [ben] } }), { code: "forbidden" });
    await assert.rejects(device.join("role:ADMIN"), { code: "forbidden" });
    assert.deepEqual(shown(device), await truth(ada));
  });

  test(`${transport}: what is watched is seen live, and is in no inbox`, async (t) => {
    const ada = somebody("ada");
    const device = client(t, ada, { transport });
    await device.connect();
    await device.watch("topic:board");
    if (transport === "sse") await until("it has come back", () => device.status === "live");
    const heard = happens(device, "notification");
    await publish("on the board", { channels: ["topic:board"] });
    const { notification, counts } = await heard;
    assert.deepEqual([notification.title, counts], ["on the board", false]);
    assert.deepEqual(shown(device), { items: [], unread: 0, unseen: 0 });
    const errors = [];
    device.addEventListener("error", ({ detail }) => errors.push(detail.error));
    if (transport === "ws") await assert.rejects(device.watch("role:ADMIN"), { code: "forbidden" });
    else {
      await device.watch("role:ADMIN");
      await until("it is told, and goes on without", () => errors.length === 1 && device.status === "live");
    }
  });
}

test("what is changed, retracted or superseded is so in the list", async (t) => {
  const ada = somebody("ada");
  const device = client(t, ada);
  await device.connect();
  const titles = () => device.inbox.items.map((item) => item.notification.title);
  const { id } = await publish("one", { users: [ada] });
  await publish("step 1", { users: [ada] }, { collapseKey: "build" });
  await publish("step 2", { users: [ada] }, { collapseKey: "build" });
  await until("the newer took its place", () => titles().join() === "step 2,one");
  assert.equal(device.inbox.unread, 2);
  await ask("PUT", `/v1/notifications/${id}`, { title: "one, corrected" });
  await until("it says so", () => titles()[1] === "one, corrected");
  await ask("DELETE", `/v1/notifications/${id}`);
  await until("it is gone", () => titles().join() === "step 2");
  await until("the counts say so", () => device.inbox.unread === 1);
  await publish("live only", { users: [ada] }, { inbox: false });
  await publish("last", { users: [ada] });
  await until("the last is there", () => titles()[0] === "last");
  assert.deepEqual(shown(device), await truth(ada));
});

test("a device acknowledges what it has", async (t) => {
  const ada = somebody("ada");
  const device = client(t, ada, { device: "laptop", transport: "ws" });
  await device.connect();
  const { id } = await publish("hello", { users: [ada] });
  await until("it is delivered", async () => {
    const { people } = await ask("GET", `/v1/notifications/${id}/deliveries`);
    return people[0].status === "delivered" && people[0].devices[0].device === "laptop";
  });
});

test("a publish that is repeated by a client is published once", async (t) => {
  const ada = somebody("ada");
  const options = { token: token({ sub: ada, scope: "publish" }) };
  const device = client(t, ada, options);
  await device.connect();
  const first = await device.publish({ type: "note", title: "x", audience: { users: [ada] }, idempotencyKey: "k" });
  const again = await device.publish({ type: "note", title: "x", audience: { users: [ada] }, idempotencyKey: "k" });
  assert.equal(again.id, first.id);
  assert.equal(again.duplicate, true);
});

test("options that cannot work are refused at once", () => {
  assert.throws(() => new Tidings({ token: service }), /options\.url/);
  assert.throws(() => new Tidings({ token: service, url: "http://x", transport: "carrier" }), /auto, ws or sse/);
});
