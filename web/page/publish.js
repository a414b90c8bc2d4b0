// The form that publishes, as a service would.

import { nameOf } from "./device.js";
import { find, make, say } from "./elements.js";
import { words } from "./tokens.js";

/** What one could say, so that trying it takes one click. */
const IDEAS = [
  ["Booking 17 was accepted", "See you on Friday at ten."],
  ["Your parcel is on its way", "It should be with you by Thursday."],
  ["Maintenance tonight at eleven", "For about ten minutes. Nothing will be lost."],
  ["Grace wrote to you", "“Have you seen the new numbers?”"],
  ["Your train leaves from platform 4", ""],
];

/** The form. */
export class Publishing {
  #service;
  #people;
  #onPublished;
  #ideas = 0;

  /**
   * @param {import("./tokens.js").Service | undefined} service
   * @param {() => string[]} people the users on the page
   * @param {(published: { id: string, title: string, users: string[] }) => void} onPublished
   */
  constructor(service, people, onPublished) {
    this.#service = service;
    this.#people = people;
    this.#onPublished = onPublished;
    find("#publish-form").addEventListener("submit", (/** @type {Event} */ event) => {
      event.preventDefault();
      this.#publish();
    });
    this.#suggest();
    this.names();
    if (!service) {
      find("#publish-form button").disabled = true;
      say(find("#receipt"), "Publishing needs the token of a service.");
    }
  }

  /** Offers the people by the names that the server has given them. */
  names() {
    const choices = this.#people().map((user, index) => [`person-${index}`, nameOf(user)]);
    if (choices.length > 1) choices.push(["both", "Both"]);
    choices.push(["everyone", "Everyone"]);
    const [to, label] = [find("#to"), choices.map(([, name]) => name).join()];
    if (to.dataset.label === label) return;
    to.dataset.label = label;
    const chosen = to.querySelector("input:checked")?.value ?? "person-0";
    to.querySelectorAll("label").forEach((/** @type {Element} */ choice) => choice.remove());
    for (const [value, name] of choices) {
      const input = make("input", { type: "radio", name: "to", value });
      input.checked = value === chosen;
      to.append(make("label", {}, input, make("span", {}, name)));
    }
  }

  #suggest() {
    const [title, body] = IDEAS[this.#ideas % IDEAS.length];
    this.#ideas += 1;
    find("#title").value = title;
    find("#body").value = body;
  }

  #audience() {
    const to = find("#to").querySelector("input:checked").value;
    const users = this.#people();
    if (to === "everyone") return { audience: { channels: ["everyone"] }, users };
    const chosen = to === "both" ? users : [users[Number(to.slice("person-".length))]];
    return { audience: { users: chosen }, users: chosen };
  }

  async #publish() {
    const [title, body] = [find("#title").value, find("#body").value];
    const { audience, users } = this.#audience();
    const button = find("#publish-form button");
    say(find("#refusal"), "");
    button.disabled = true;
    const began = performance.now();
    try {
      const draft = { type: "demo.note", title, body, audience };
      const { id, position } = await this.#service?.ask("POST", "/v1/notifications", draft);
      const took = Math.max(1, Math.round(performance.now() - began));
      find("#receipt").textContent = `On disk at position ${position}, in ${took} ms.`;
      this.#onPublished({ id, title: title || "(without a title)", users });
      this.#suggest();
    } catch (error) {
      say(find("#receipt"), "");
      say(find("#refusal"), words(error));
    } finally {
      button.disabled = false;
      button.focus({ preventScroll: true });
    }
  }
}
