// Whose tokens the page uses: those of the demo, which it fetches, or those that were pasted into it. They are kept in
// memory, and nowhere else.

import { TidingsError } from "../tidings.js";
import { problemOf } from "../tidings/problem.js";
import { find } from "./elements.js";

/** Whether the server gives the page tokens. */
export const isDemo = document.documentElement.dataset.demo === "on";

/**
 * Tokens of two people and a service.
 * @typedef {{ first: TokenSource, second?: TokenSource, service?: TokenSource }} Seats
 * @typedef {import("../tidings.js").TokenSource} TokenSource
 */

/** The seats of the demo, or those that somebody pastes. @returns {Promise<Seats>} */
export function seats() {
  if (isDemo) return Promise.resolve({ first: fromDemo("ada"), second: fromDemo("ben"), service: fromDemo("service") });
  const form = find("#seats-form");
  find("#seats").hidden = false;
  return new Promise((resolve) => {
    form.addEventListener("submit", (/** @type {Event} */ event) => {
      event.preventDefault();
      const pasted = (/** @type {string} */ id) => find(`#${id}`).value.trim() || undefined;
      const [first, second, service] = [pasted("seat-first"), pasted("seat-second"), pasted("seat-service")];
      if (!first) {
        find("#seats-refusal").textContent = "Expected the token of a person.";
        return find("#seat-first").focus();
      }
      form.reset();
      find("#seats").hidden = true;
      resolve({ first, second, service });
    });
  });
}

/** @param {"ada" | "ben" | "service"} who @returns {() => Promise<string>} */
function fromDemo(who) {
  return async () => {
    const headers = { "content-type": "application/json" };
    const response = await fetch("/demo/token", { method: "POST", headers, body: JSON.stringify({ who }) });
    if (!response.ok) throw await problemOf(response);
    return (await response.json()).token;
  };
}

/** Asks the server as a service does, with a token that is fetched again when it has ended. */
export class Service {
  #source;
  /** @type {string | undefined} */
  #token;

  /** @param {TokenSource} source */
  constructor(source) {
    this.#source = source;
  }

  /**
   * @param {string} method
   * @param {string} path
   * @param {object} [body]
   * @returns {Promise<any>}
   */
  async ask(method, path, body) {
    const isFresh = this.#token === undefined;
    this.#token ??= typeof this.#source === "string" ? this.#source : await this.#source({ refused: false });
    const headers = { authorization: `Bearer ${this.#token}`, "content-type": "application/json" };
    const response = await fetch(path, { method, headers, body: body && JSON.stringify(body), cache: "no-store" });
    if (response.ok) return response.json();
    if (response.status === 401 && !isFresh && typeof this.#source !== "string") {
      this.#token = undefined;
      return this.ask(method, path, body);
    }
    throw await problemOf(response);
  }
}

/** An error as the server said it. @param {unknown} error */
export function words(error) {
  if (error instanceof TidingsError) {
    const { title, detail } = error.problem;
    return detail && detail !== title ? `${title}: ${detail}` : title;
  }
  return "The server cannot be reached.";
}
