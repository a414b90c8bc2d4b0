// The fold of a client's inbox against a plain model: messages and pages that come in every order that they may.
import assert from "node:assert/strict";
import { test } from "node:test";

import { Inbox } from "../../../web/tidings/inbox.js";
import { Pages } from "../../../web/tidings/pages.js";
import { chance } from "../chance.mjs";

const SEED = Number(process.env.TIDINGS_SEED ?? Date.now() % 1_000_000);
const HISTORIES = 400;
const STEPS = 60;

/** The server, as plainly as can be: all events, and what a list looks like after each of them. */
class Model {
  messages = [];
  #states = [new Map()];

  get head() {
    return this.messages.length;
  }

  /** What can be done to a notification that is listed, or archived, or put off. */
  ids(where, at = this.head) {
    return [...this.#states[at].values()].filter((item) => item.where === where).map(({ id }) => id);
  }

  /** Appends an event, and changes each of the items that it is about. */
  append(message, change = () => ({}), isMeant = ({ id }) => message.notifications?.includes(id)) {
    const position = this.head + 1;
    const state = new Map(this.#states[this.head]);
    for (const item of state.values()) if (isMeant(item)) state.set(item.id, { ...item, ...change(position, item) });
    if (message.type === "notification") {
      const fresh = { position, published: position, read: false, seen: false, pinned: false, where: "listed", since: 0 };
      state.set(message.notification.id, { ...fresh, id: message.notification.id, notification: message.notification });
      for (const id of message.supersedes ?? []) state.set(id, { ...state.get(id), where: "gone" });
    }
    this.#states.push(state);
    this.messages.push({ ...message, position, cursor: `e.${position}` });
  }

  list(at) {
    const listed = [...this.#states[at].values()].filter(({ where }) => where === "listed");
    return listed.sort((one, other) => other.position - one.position);
  }

  counts(at) {
    const list = this.list(at);
    const [unread, unseen] = ["read", "seen"].map((word) => list.filter((item) => !item[word]).length);
    return { unread, unseen, position: at };
  }

  page(at, { cursor, limit }) {
    const rest = this.list(at).filter(({ position }) => !cursor || position < Number(cursor));
    const items = rest.slice(0, limit).map(({ position, read, seen, pinned, notification }) => ({ position, read, seen, pinned, notification }));
    return { items, next: rest.length > limit ? String(items.at(-1).position) : null, ...this.counts(at) };
  }
}

/** Something happens. Only in some histories it is what a client cannot know from the message. */
function happen(model, random, isKnowable) {
  const pick = (list) => list[Math.floor(random() * list.length)];
  const one = (where) => [pick(model.ids(where))].filter(Boolean);
  const mark = (type, notifications, change) => notifications.length && model.append({ type, notifications }, change);
  const upTo = () => Math.floor(random() * (model.head + 1));
  const publish = () => {
    const id = `n${model.head + 1}`;
    const supersedes = random() < 0.2 ? one("listed") : undefined;
    model.append({ type: "notification", counts: true, supersedes, notification: { id, title: id } });
  };
  const steps = [
    publish,
    publish,
    () => mark("read", one("listed"), () => ({ read: true, since: 0 })),
    () => mark("unread", one("listed"), (position) => ({ read: false, since: position })),
    () => mark(...pick([["pinned", one("listed"), () => ({ pinned: true })], ["unpinned", one("listed"), () => ({ pinned: false })]])),
    () => mark("archived", one("listed"), () => ({ where: "archived" })),
    () => mark("deleted", one("listed"), () => ({ where: "gone" })),
    () => mark("snoozed", one("listed"), () => ({ where: "snoozed" })),
    () => {
      const [id] = one("listed");
      if (id) model.append({ type: "updated", notification: { id, title: `${id} at ${model.head}` } }, (position) => ({ notification: { id, title: `${id} at ${position - 1}` } }), (item) => item.id === id);
    },
    () => {
      const to = upTo();
      model.append({ type: "read", upTo: to }, () => ({ read: true, since: 0 }), (item) => item.published <= to && item.since <= to);
    },
    () => {
      const to = upTo();
      model.append({ type: "seen", upTo: to }, () => ({ seen: true }), (item) => item.published <= to);
    },
    () => !isKnowable && mark("unarchived", one("archived"), () => ({ where: "listed" })),
    () => !isKnowable && mark("woken", one("snoozed"), (position) => ({ where: "listed", read: false, since: position, position })),
  ];
  pick(steps)();
}

/** What a client has to show. */
function list(model, at) {
  return model.list(at).map(({ position, read, seen, pinned, notification }) => ({ position, read, seen, pinned, notification }));
}

/** One history: what happens, what is told and what is loaded, interleaved by chance. */
async function history(seed) {
  const random = chance(seed);
  const isKnowable = random() < 0.7;
  const size = random() < 0.5 ? 100 : 3;
  const model = new Model();
  const inbox = new Inbox();
  let told = 0;
  const asked = [];
  const pages = new Pages(inbox, size, {
    isOpen: () => true,
    onLoaded: () => {},
    onError: (error) => assert.fail(error),
    ask: (command) => new Promise((resolve) => asked.push({ command, resolve })),
  });
  /** Lets everything happen that only waits for its turn. */
  const settle = () => new Promise((resolve) => setImmediate(resolve));
  const tell = async () => {
    if (told === model.head) return;
    const message = model.messages[told];
    told += 1;
    pages.keep(message);
    if (inbox.apply(message)) ((pages.isStale = true), void pages.reload());
    if (random() < 0.5) inbox.count(model.counts(told));
  };
  const answer = async () => {
    const load = asked.shift();
    if (!load) return;
    // What it saw is what was told by then, or more: a request overtakes a stream.
    const at = told + Math.floor(random() * (model.head - told + 1));
    const page = model.page(at, load.command);
    for (let more = Math.floor(random() * 4); more > 0; more -= 1) await tell(); // on its way, others come first
    load.resolve(page);
    await settle();
  };
  const shown = () => JSON.parse(JSON.stringify(inbox.view([]).items));
  /** What is known is shown at once, and nothing that is older than a page. */
  const check = () => {
    if (!inbox.loaded || pages.isStale || asked.length > 0 || size < 100) return;
    assert.deepEqual(shown(), list(model, Math.max(told, inbox.at)), `seed ${seed}, told ${told}, a page at ${inbox.at}`);
  };
  for (let n = 0; n < 8; n += 1) happen(model, random, isKnowable);
  told = model.head;
  void pages.reload();
  await settle();
  for (let step = 0; step < STEPS; step += 1) {
    const choice = random();
    if (choice < 0.45) happen(model, random, isKnowable);
    else if (choice < 0.85) await tell();
    else if (choice < 0.95) await answer();
    else if (choice < 0.98) void pages.more();
    else ((pages.isStale = true), void pages.reload());
    await settle();
    check();
  }
  await settle();
  while (told < model.head || asked.length > 0) {
    await (random() < 0.5 ? answer() : tell());
    await settle();
  }
  inbox.count(model.counts(model.head));
  inbox.count({ unread: 99, unseen: 99, position: model.head - 1 }); // late, and so without effect
  const { items, unread, unseen, more } = inbox.view([]);
  const is = list(model, model.head);
  assert.deepEqual(shown(), more ? is.slice(0, items.length) : is, `seed ${seed}`);
  assert.deepEqual([unread, unseen], [model.counts(model.head).unread, model.counts(model.head).unseen], `seed ${seed}`);
}

test(`a fold of messages and pages in any order is what a plain model says (TIDINGS_SEED=${SEED})`, async () => {
  for (let n = 0; n < HISTORIES; n += 1) await history(SEED + n);
});
