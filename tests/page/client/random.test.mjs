// Whatever happens, in whatever order, with whatever connections: in the end a client shows what the server has.
import assert from "node:assert/strict";
import { test } from "node:test";
import { isDeepStrictEqual } from "node:util";

import { chance } from "../chance.mjs";
import { ask, client, publish, service, shown, somebody, token, truth, until, wire } from "../world.mjs";

const SECONDS = Number(process.env.TIDINGS_RANDOM_SECONDS ?? 3);
const SEED = Number(process.env.TIDINGS_SEED ?? Date.now() % 1_000_000);
const DEVICES = 6;

test(`devices that come and go at random end with what the server has (TIDINGS_SEED=${SEED})`, async (t) => {
  const random = chance(SEED);
  const pick = (list) => list[Math.floor(random() * list.length)];
  const [ada, ben] = [somebody("ada"), somebody("ben")];
  const options = (user) => ({ token: token({ sub: user, channels: ["topic:*"] }) });
  const lines = await Promise.all(Array.from({ length: DEVICES }, () => wire(t)));
  const devices = lines.map((line, n) => {
    const transport = ["auto", "ws", "sse"][n % 3];
    const limit = n === 3 ? 5 : undefined; // one that is soon told to load again
    const user = n < 4 ? ada : ben;
    return client(t, user, { ...options(user), url: line.url, transport, limit, device: `device-${n}`, pageSize: 100, random });
  });
  await Promise.all(devices.map((device) => device.connect()));
  const published = [];
  const refused = [];
  const note = async (audience, more) => published.push((await publish(`note ${published.length}`, audience, more)).id);
  const some = (device) => Array.from({ length: 1 + Math.floor(random() * 2) }, () => pick(device.inbox.items)?.notification.id);
  // Not waited for: a device without a connection does it later.
  const asked = (promise, mayBe) => void promise.catch(({ code }) => code === mayBe || refused.push(code));
  const change = (device, word) => {
    const ids = [...new Set(some(device).filter(Boolean))];
    if (ids.length > 0) asked(device[word](...ids));
  };
  const steps = [
    () => note({ users: [pick([ada, ben])] }),
    () => note({ users: [ada, ben] }),
    () => note({ channels: ["topic:a"] }, { collapseKey: pick([undefined, "k"]) }),
    () => note({ users: [ada], channels: ["topic:b", "topic:a"] }),
    () => note({ users: [ada] }, { collapseKey: "mine" }),
    () => change(pick(devices), pick(["read", "read", "unread", "pin", "unpin", "archive", "delete", "clicked"])),
    () => change(pick(devices), pick(["read", "unread"])),
    () => asked(pick(devices)[pick(["readAll", "seen"])]()),
    () => asked(pick(devices)[pick(["join", "join", "leave"])](pick(["topic:a", "topic:b"]))),
    () => {
      const device = pick(devices);
      const id = some(device)[0];
      if (id) asked(device.snooze(new Date(Date.now() + 500 + random() * 1_000), id), "invalid-field"); // it may be too late
    },
    async () => published.length > 0 && random() < 0.3 && ask("DELETE", `/v1/notifications/${pick(published)}`, undefined, service).catch(() => {}),
    () => pick(lines).cut(),
    () => pick(devices).disconnect(),
    () => void pick(devices).connect(),
    () => {
      const line = pick(lines);
      line.state.isCut = random() < 0.3;
      line.state.hasWebSocket = random() < 0.7;
      line.cut();
    },
    () => void pick(devices).refresh(),
  ];
  const end = Date.now() + SECONDS * 1_000;
  let taken = 0;
  while (Date.now() < end) {
    await pick(steps)();
    taken += 1;
    if (random() < 0.3) await new Promise((resolve) => setTimeout(resolve, random() * 20));
  }
  lines.forEach((line) => Object.assign(line.state, { isCut: false, hasWebSocket: true }));
  await Promise.all(devices.map((device) => device.connect()));
  await new Promise((resolve) => setTimeout(resolve, 1_600)); // what was put off has come back
  for (const [n, device] of devices.entries()) {
    const user = n < 4 ? ada : ben;
    let said = [];
    const agree = async () => {
      while (device.inbox.more) await device.more();
      said = [shown(device), await truth(user)];
      return isDeepStrictEqual(...said);
    };
    await until("", agree, 15).catch(() => assert.deepEqual(...said, `device ${n} (${device.transport}) after ${taken} steps`));
  }
  t.diagnostic(`${taken} steps, ${published.length} published, refused: ${[...new Set(refused)]}`);
  const odd = refused.filter((code) => code !== "no-such-notification");
  assert.deepEqual(odd, [], "nothing else is refused: what was deleted by another device is");
});
