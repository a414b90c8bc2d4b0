// The page: two people with two devices each, a service that publishes, and what became of it.

import { Deliveries } from "./deliveries.js";
import { Device, nameOf } from "./device.js";
import { copyOf, find, make, say } from "./elements.js";
import { Publishing } from "./publish.js";
import { Service, isDemo, seats } from "./tokens.js";

/** @typedef {import("./tokens.js").TokenSource} TokenSource */

/** The devices of each: one over WebSocket and one over SSE. @type {import("./device.js").Kind[]} */
const KINDS = [
  { label: "Phone", transport: "ws" },
  { label: "Laptop", transport: "sse" },
];

/** A person on the page. */
class Person {
  #section = copyOf("person-template");
  #jump = make("a", {}, make("span", { class: "name" }), make("span", { class: "badge" }));

  /**
   * @param {{ id: string, name: string, token: TokenSource }} of
   * @param {() => void} onChange
   */
  constructor({ id, name, token }, onChange) {
    this.name = name;
    const changed = () => (this.#show(), onChange());
    this.devices = KINDS.map((kind) => new Device({ owner: name, token, kind }, changed));
    this.#section.id = id;
    this.#section.setAttribute("aria-labelledby", `${id}-name`);
    find(".name", this.#section).id = `${id}-name`;
    this.#jump.href = `#${id}`;
    find(".devices", this.#section).append(...this.devices.map((device) => device.element));
    find("#people").append(this.#section);
    find("#jump").append(this.#jump);
    this.#show();
  }

  #show() {
    const [device] = this.devices ?? [];
    if (device) this.name = device.owner;
    const name = nameOf(this.name);
    say(find(".face", this.#section), name.slice(0, 1));
    say(find(".name", this.#section), name);
    say(find(".name", this.#jump), name);
    const unread = device?.client.inbox.unread ?? 0;
    const badge = find(".badge", this.#jump);
    badge.dataset.zero = String(unread === 0);
    say(badge, String(unread));
    badge.setAttribute("aria-label", `${unread} unread`);
    badge.setAttribute("role", "img");
  }
}

async function main() {
  say(find("#about"), isDemo
    ? "The tokens of this page are of the tenant “demo”, last ten minutes, and are fetched again by themselves. It loads nothing from elsewhere."
    : "This page keeps tokens in memory alone, and loads nothing from elsewhere.");
  const { first, second, service: source } = await seats();
  const service = source === undefined ? undefined : new Service(source);
  /** @type {Person[]} */
  const people = [];
  const deliveries = new Deliveries(service, () => people.flatMap((person) => person.devices));
  /** @type {Publishing | undefined} */
  let publishing;
  const changed = () => (deliveries.look(), publishing?.names());
  people.push(new Person({ id: "first", name: "ada", token: first }, changed));
  if (second !== undefined) people.push(new Person({ id: "second", name: "ben", token: second }, changed));
  publishing = new Publishing(service, () => people.map((person) => person.name), (published) => deliveries.add(published));
  find("#desk").hidden = false;
  find("#jump").hidden = false;
}

main();
