// One device on the page: a card with a client of its own, which shows the client's inbox and changes it.

import { Tidings } from "../tidings.js";
import { announce, copyOf, find, say } from "./elements.js";

/** @typedef {import("../tidings.js").Item} Item */

const VIA = { ws: "WebSocket", sse: "SSE" };

/**
 * @typedef {object} Kind
 * @property {string} label what it is called on the page
 * @property {"ws" | "sse"} transport
 */

/** A device. */
export class Device {
  #card = copyOf("device-template");
  /** @type {Map<string, any>} the rows that are shown, by notification */
  #rows = new Map();
  /** What came while it was away. @type {Set<string>} */
  #missed = new Set();
  #owner;
  #unread = 0;

  /**
   * @param {{ owner: string, token: import("../tidings.js").TokenSource, kind: Kind }} of
   * @param {() => void} onChange
   */
  constructor({ owner, token, kind }, onChange) {
    this.#owner = owner;
    this.kind = kind;
    this.name = `${kind.label.toLowerCase()}-${Math.random().toString(36).slice(2, 6)}`;
    this.client = new Tidings({ token, device: this.name, transport: kind.transport, pageSize: 20 });
    const { client } = this;
    client.addEventListener("change", () => (this.#show(), onChange()));
    client.addEventListener("notification", (/** @type {any} */ { detail }) => this.#hear(detail));
    client.addEventListener("caughtUp", (/** @type {any} */ { detail }) => this.#caughtUp(detail.missed));
    client.addEventListener("status", (/** @type {any} */ { detail }) => this.#refuse(detail.status === "closed" ? detail.error : undefined));
    this.#card.dataset.kind = kind.label.toLowerCase();
    say(find(".device-name", this.#card), kind.label);
    this.#on(".plug", () => this.#plug());
    this.#on(".read-all", () => client.readAll());
    this.#on(".older", () => client.more());
    this.#show();
    client.connect();
  }

  get element() {
    return this.#card;
  }

  /** Who it belongs to, once the server has said so. */
  get owner() {
    return this.client.user ?? this.#owner;
  }

  /** @param {string} selector @param {() => Promise<any> | void} act */
  #on(selector, act) {
    find(selector, this.#card).addEventListener("click", () => this.#try(act));
  }

  /** @param {() => Promise<any> | void} act */
  async #try(act) {
    this.#refuse(undefined);
    await Promise.resolve(act()).catch((error) => this.#refuse(error));
  }

  /** @param {Error | undefined} error */
  #refuse(error) {
    say(find(".refusal", this.#card), error?.message ?? "");
  }

  #plug() {
    if (this.client.status === "offline") {
      this.client.connect();
      announce(`${this.#title} connects`);
    } else {
      this.#missed.clear();
      this.client.disconnect();
      announce(`${this.#title} is offline`);
    }
  }

  get #title() {
    return `${nameOf(this.owner)}’s ${this.kind.label.toLowerCase()}`;
  }

  /** @param {{ notification: { id: string, title: string }, missed: boolean }} heard */
  #hear({ notification, missed }) {
    if (missed) this.#missed.add(notification.id);
    announce(`${nameOf(this.owner)}: ${notification.title}`);
  }

  /** @param {number} missed */
  #caughtUp(missed) {
    announce(`${this.#title} is back, ${missed} missed`);
  }

  // — showing

  #show() {
    const { client } = this;
    const { items, unread, loaded, more } = client.inbox;
    const isOff = client.status === "offline" || client.status === "closed";
    this.#card.dataset.status = client.status;
    this.#card.setAttribute("aria-label", this.#title);
    say(find(".state-text", this.#card), stateOf(client));
    const plug = find(".plug", this.#card);
    say(plug, client.status === "offline" ? "Reconnect" : "Go offline");
    plug.hidden = client.status === "closed";
    plug.setAttribute("aria-label", `${plug.textContent}: ${this.#title}`);
    this.#badge(unread);
    this.#list(items);
    const list = find(".inbox", this.#card);
    list.hidden = items.length === 0;
    list.setAttribute("aria-label", `Inbox on ${this.#title}`);
    const empty = find(".empty", this.#card);
    empty.hidden = items.length > 0;
    say(empty, loaded ? "Nothing here. Publish something." : isOff ? "Never connected." : "Loading …");
    find("footer", this.#card).hidden = items.length === 0;
    const readAll = find(".read-all", this.#card);
    readAll.disabled = unread === 0;
    readAll.setAttribute("aria-label", `Mark all read on ${this.#title}`);
    const older = find(".older", this.#card);
    older.hidden = !more;
    older.disabled = client.status !== "live";
  }

  /** @param {number} unread */
  #badge(unread) {
    const badge = find(".badge", this.#card);
    badge.dataset.zero = String(unread === 0);
    say(find(".count", badge), String(unread));
    if (unread > this.#unread) bump(badge);
    this.#unread = unread;
  }

  /** Rows stay the same elements, so that focus stays where it is. @param {readonly Item[]} items */
  #list(items) {
    const list = find(".inbox", this.#card);
    const ids = new Set(items.map((item) => item.notification.id));
    for (const [id, row] of this.#rows) {
      if (ids.has(id)) continue;
      if (row.contains(document.activeElement)) {
        const next = row.nextElementSibling ?? row.previousElementSibling ?? this.#card;
        next.querySelector("button").focus();
      }
      row.remove();
      this.#rows.delete(id);
    }
    items.forEach((item, index) => {
      const row = this.#row(item);
      if (list.children[index] !== row) list.insertBefore(row, list.children[index] ?? null);
    });
  }

  /** @param {Item} item */
  #row({ read, notification }) {
    const { id, title, body = "", type, createdAt } = notification;
    const row = this.#rows.get(id) ?? this.#newRow(id);
    row.dataset.read = String(read);
    const shown = title || type;
    say(find(".title", row), shown);
    say(find(".body", row), body);
    find(".body", row).hidden = body === "";
    const time = find("time", row);
    time.dateTime = createdAt;
    say(time, new Date(createdAt).toLocaleTimeString([], { timeStyle: "short" }));
    find(".tag", row).hidden = !this.#missed.has(id);
    const toggle = find(".toggle", row);
    say(toggle, read ? "Mark unread" : "Mark read");
    toggle.setAttribute("aria-label", `${toggle.textContent}: ${shown}`);
    find(".archive", row).setAttribute("aria-label", `Archive: ${shown}`);
    return row;
  }

  /** @param {string} id */
  #newRow(id) {
    const row = copyOf("item-template");
    const isRead = () => row.dataset.read === "true";
    const { client } = this;
    find(".toggle", row).addEventListener("click", () => this.#try(() => (isRead() ? client.unread(id) : client.read(id))));
    find(".archive", row).addEventListener("click", () => this.#try(() => client.archive(id)));
    this.#rows.set(id, row);
    return row;
  }
}

/** What a person is called on the page. @param {string} user */
export function nameOf(user) {
  return user.slice(0, 1).toUpperCase() + user.slice(1);
}

/** @param {Tidings} client */
function stateOf({ status, transport }) {
  const via = VIA[transport];
  switch (status) {
    case "live":
      return `Live · ${via}`;
    case "catchingUp":
      return `Catching up · ${via}`;
    case "connecting":
      return "Connecting …";
    case "waiting":
      return "Lost; tries again by itself";
    case "closed":
      return "Refused";
    default:
      return "Offline";
  }
}

/** @param {any} badge */
function bump(badge) {
  badge.classList.remove("bump");
  void badge.offsetWidth; // so that the animation begins again
  badge.classList.add("bump");
}
