// What became of a notification, person by person and device by device, as the server says it.

import { nameOf } from "./device.js";
import { find, make, say, soon } from "./elements.js";
import { isDemo, words } from "./tokens.js";

/** How often it is asked again while something may still happen. */
const LOOK_EVERY_MS = 2_000;
/** As many notifications can be chosen. */
const KEPT = 10;
/** The demo's tokens allow no more than it needs, so it has an address of its own for this. */
const ROOT = isDemo ? "/demo/notifications" : "/v1/notifications";
const STEPS = /** @type {const} */ (["routed", "sent", "delivered", "read"]);

/** @typedef {import("./device.js").Device} Device */

/** The panel. */
export class Deliveries {
  #service;
  #devices;
  /** @type {string | undefined} */
  #shown;
  #isAsking = false;
  /** When something has happened. It comes in bursts. */
  look = soon(() => this.#ask(), 150);

  /**
   * @param {import("./tokens.js").Service | undefined} service
   * @param {() => Device[]} devices on the page
   */
  constructor(service, devices) {
    this.#service = service;
    this.#devices = devices;
    find("#which").addEventListener("change", (/** @type {any} */ { target }) => this.#choose(target.value));
    setInterval(() => document.visibilityState === "visible" && this.#ask(), LOOK_EVERY_MS);
  }

  /** @param {{ id: string, title: string }} published */
  add({ id, title }) {
    const which = find("#which");
    which.prepend(make("option", { value: id }, title));
    while (which.options.length > KEPT) which.options[KEPT].remove();
    which.value = id;
    find("#deliveries-empty").hidden = true;
    this.#choose(id);
  }

  /** @param {string} id */
  #choose(id) {
    this.#shown = id;
    this.#ask();
  }

  async #ask() {
    const id = this.#shown;
    if (!id || this.#isAsking) return;
    this.#isAsking = true;
    try {
      const deliveries = await this.#service?.ask("GET", `${ROOT}/${id}/deliveries`);
      if (id === this.#shown) this.#show(deliveries);
      say(find("#deliveries-refusal"), "");
    } catch (error) {
      say(find("#deliveries-refusal"), words(error));
      this.#shown = undefined; // it would be refused again and again
    } finally {
      this.#isAsking = false;
    }
    if (this.#shown !== id) this.#ask();
  }

  /** @param {any} deliveries as the server answers */
  #show({ totals, people }) {
    find("#deliveries-body").hidden = false;
    update(find("#totals"), STEPS.map((step) => column(step, totals)));
    const rows = people.flatMap((/** @type {any} */ person) => this.#rows(person));
    update(find("#status"), rows);
  }

  /** A row for each device of a person: of those on this page, and of others that it was sent to. @param {any} person */
  #rows(person) {
    const { user, rule, readAt, status } = person;
    const sent = new Map(person.devices.map((/** @type {any} */ device) => [device.device, device]));
    const ours = this.#devices().filter((device) => device.owner === user);
    const known = ours.map(({ name, kind }) => ({ name, label: kind.label, delivery: sent.get(name) }));
    const names = new Set(known.map(({ name }) => name));
    const others = person.devices.filter((/** @type {any} */ { device }) => !names.has(device));
    const rest = others.map((/** @type {any} */ delivery) => ({ name: delivery.device, label: delivery.device, delivery }));
    const isRouted = status !== "notRouted" && status !== "dropped";
    const why = rule?.by === "channel" ? `as a member of ${rule.channel}` : "by name";
    return [...known, ...rest].map(({ name, label, delivery }) => {
      const head = make("th", { scope: "row" }, make("span", { class: "owner" }, nameOf(user)), ` ${label}`);
      const cells = [
        mark(isRouted, isRouted ? `yes, ${why}` : "no"),
        mark(delivery !== undefined, delivery?.sentAt ? `by ${time(delivery.sentAt)}` : delivery ? "yes" : "not yet"),
        mark(delivery?.delivered === true, delivery?.deliveredAt ? `by ${time(delivery.deliveredAt)}` : delivery?.delivered ? "yes" : "not yet"),
        mark(readAt !== undefined, readAt ? `at ${time(readAt)}` : "not yet"),
      ];
      return make("tr", { "data-device": name, "data-user": user }, head, ...cells);
    });
  }
}

/**
 * How many people it has come so far with, and how large a part of all that is.
 * @param {(typeof STEPS)[number]} step
 * @param {Record<string, number>} totals
 */
function column(step, totals) {
  const label = step.slice(0, 1).toUpperCase() + step.slice(1);
  const part = make("meter", { min: "0", max: String(Math.max(1, totals.routed)), value: String(totals[step]), "aria-hidden": "true" });
  return make("div", { "data-step": step }, make("dt", {}, label, part), make("dd", {}, String(totals[step])));
}

/** @param {string} at */
function time(at) {
  return new Date(at).toLocaleTimeString();
}

/**
 * A cell of the table: a mark for those who see it, and words.
 * @param {boolean} isDone
 * @param {string} text
 */
function mark(isDone, text) {
  const sign = make("span", { class: "sign", "aria-hidden": "true", title: text });
  return make("td", { "data-done": String(isDone) }, sign, make("span", { class: "hidden" }, text));
}

/**
 * Replaces children only where they have changed, so that nothing moves without a reason.
 * @param {any} parent
 * @param {any[]} children
 */
function update(parent, children) {
  children.forEach((child, index) => {
    const old = parent.children[index];
    if (!old) parent.append(child);
    else if (!old.isEqualNode(child)) old.replaceWith(child);
  });
  while (parent.children.length > children.length) parent.lastElementChild.remove();
}
