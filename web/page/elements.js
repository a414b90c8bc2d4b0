// Small things that every part of the page uses. Text goes in as text: nothing here makes markup of what came in.

/**
 * The element that there must be.
 * @param {string} selector
 * @param {ParentNode} [within]
 * @returns {any}
 */
export function find(selector, within = document) {
  const found = within.querySelector(selector);
  if (!found) throw new Error(`there is no ${selector} on the page`);
  return found;
}

/** A copy of a template's only element. @param {string} id @returns {any} */
export function copyOf(id) {
  return find(`#${id}`).content.firstElementChild.cloneNode(true);
}

/**
 * @param {string} tag
 * @param {Record<string, string>} [attributes]
 * @param {(Node | string)[]} children
 * @returns {any}
 */
export function make(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/** Sets a text only if it is another one, so that nobody is told what they know. @param {any} element @param {string} text */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** @type {string[]} */
let waiting = [];

/**
 * Tells those who do not see it. What happens within a moment is told together.
 * @param {string} text
 */
export function announce(text) {
  if (waiting.length === 0) setTimeout(tell, 300);
  if (!waiting.includes(text)) waiting.push(text);
}

function tell() {
  find("#announcer").textContent = waiting.join(". ");
  waiting = [];
}

/**
 * Calls `run` once for all calls within a moment.
 * @param {() => void} run
 * @param {number} afterMs
 */
export function soon(run, afterMs) {
  /** @type {any} */
  let timer;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(run, afterMs);
  };
}
