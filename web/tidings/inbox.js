// What an inbox looks like to one client: the part of the list that was loaded, and the counts. Pages and messages come
// in, a state comes out. Knows no connection; the same messages always give the same state.

/** @typedef {import("./link.js").Message} Message */

/**
 * A notification, as it was published.
 * @typedef {object} Notification
 * @property {string} id
 * @property {string} type
 * @property {string} title
 * @property {string} [body]
 * @property {object} [data]
 * @property {string} priority
 * @property {{ url: string, text?: string }} [action]
 * @property {string[]} tags
 * @property {string} createdAt
 * @property {string} [updatedAt]
 * @property {string} [expiresAt]
 * @property {string} [channel] when it went to exactly one
 */

/**
 * A notification in the inbox.
 * @typedef {object} Item
 * @property {number} position where it is listed
 * @property {boolean} read
 * @property {boolean} seen
 * @property {boolean} pinned
 * @property {Notification} notification
 */

/** @typedef {{ unread: number, unseen: number, position: number }} Counts true at the position */

/**
 * What is to be shown. Never changed: each change makes another one.
 * @typedef {object} View
 * @property {readonly Item[]} items newest first, as far as they were loaded
 * @property {boolean} loaded whether the list was loaded at all
 * @property {boolean} more whether there are older ones
 * @property {number} unread
 * @property {number} unseen
 */

/**
 * A command that was given and not yet confirmed.
 * @typedef {{ type: string, notifications?: readonly string[], upTo?: number }} Intent
 */

/**
 * An item, and how far it is known.
 * @typedef {Item & { at: number, exact: boolean, unreadSince: number }} Known
 *   `at`: the position of the page that it came with, which knew everything up to there. `exact`: it came live, so
 *   `position` is where it was published. `unreadSince`: where it was marked unread, as far as that is known.
 */

/** What takes a notification out of the list. */
const REMOVING = new Set(["archived", "deleted", "snoozed", "retracted"]);
/** What may bring one into it, or take away many, that only the server knows. */
const UNKNOWABLE = new Set(["unarchived", "woken", "joined", "left"]);
/** The change that a command asks for, as the message that will report it. */
const REPORTED = /** @type {Record<string, string>} */ ({
  read: "read", clicked: "read", unread: "unread", pin: "pinned", unpin: "unpinned",
  archive: "archived", delete: "deleted", snooze: "snoozed", "read-all": "read", seen: "seen",
}); // prettier-ignore
/** What a message sets on an item. */
const PATCHES = /** @type {Record<string, Partial<Item>>} */ ({
  read: { read: true }, unread: { read: false }, pinned: { pinned: true }, unpinned: { pinned: false }, seen: { seen: true },
}); // prettier-ignore

/** The state of an inbox that the server has confirmed. */
export class Inbox {
  /** @type {Known[]} newest first */
  #items = [];
  /** The page at the top knew everything up to here. */
  #at = 0;
  /** Every page knew everything up to here; one that another server answers may know less than the one before it. */
  #floor = 0;
  /** @type {string | null} where the next page begins */
  #next = null;
  #loaded = false;
  /** @type {Counts} */
  #counts = { unread: 0, unseen: 0, position: 0 };

  /** Where the next page begins; `null` when all is loaded. */
  get next() {
    return this.#next;
  }

  get size() {
    return this.#items.length;
  }

  get loaded() {
    return this.#loaded;
  }

  /** The position up to which the list and the counts are known from pages. */
  get at() {
    return this.#at;
  }

  /** Begins again: positions of another log mean nothing in this one. */
  forget() {
    this.#items = [];
    this.#at = this.#floor = 0;
    this.#next = null;
    this.#loaded = false;
    this.#counts = { unread: 0, unseen: 0, position: 0 };
  }

  /**
   * Takes counts, unless newer ones are known.
   * @param {Counts} counts
   */
  count({ unread, unseen, position }) {
    if (position >= this.#counts.position) this.#counts = { unread, unseen, position };
  }

  /**
   * Takes pages from the top down instead of what was there.
   * @param {Message[]} pages as the server answered
   */
  replace(pages) {
    this.#items = [];
    this.#at = this.#floor = pages[0].position;
    this.#loaded = true;
    pages.forEach((page) => this.append(page));
  }

  /**
   * Takes the next page.
   * @param {Message} page
   */
  append(page) {
    const known = new Set(this.#items.map((item) => item.notification.id));
    for (const { position, read, seen, pinned, notification } of page.items) {
      if (known.has(notification.id)) continue;
      const item = { position, read, seen, pinned, notification, at: page.position, exact: false, unreadSince: 0 };
      this.#items.push(item);
    }
    this.#items.sort((one, other) => other.position - one.position);
    this.#next = page.next;
    this.#floor = Math.min(this.#floor, page.position);
    this.count(/** @type {any} */ (page));
  }

  /**
   * Takes a message. It does no harm to take one twice, or one that a page knew already.
   * @param {Message} message
   * @returns {boolean} whether the list has to be loaded again, as only the server knows what it looks like now
   */
  apply(message) {
    const { type, position } = message;
    if (type === "notification") this.#add(message);
    else if (type === "updated") this.#patch(message, { notification: message.notification });
    else if (REMOVING.has(type)) this.#remove(message);
    else if (message.upTo !== undefined) return this.#passUpTo(message);
    else if (PATCHES[type]) this.#patch(message, PATCHES[type]);
    else return UNKNOWABLE.has(type) && position > this.#floor;
    return false;
  }

  /**
   * What is to be shown, if what was asked for is done.
   * @param {Iterable<Intent>} intents in the order in which they were given
   * @returns {View}
   */
  view(intents) {
    let { unread, unseen } = this.#counts;
    /** @type {Item[]} */
    let items = this.#items;
    for (const intent of intents) {
      const becomes = foresee(intent);
      /** @type {Item[]} */
      const next = [];
      for (const item of items) {
        const changed = becomes(item);
        if (changed) next.push(changed);
        unread += Number(changed?.read === false) - Number(!item.read);
        unseen += Number(changed?.seen === false) - Number(!item.seen);
      }
      items = next;
      const isAll = intent.upTo !== undefined && intent.upTo >= this.#counts.position;
      if (isAll && intent.type === "read-all") unread = 0;
      if (isAll && intent.type === "seen") unseen = 0;
    }
    const shown = items.map(({ position, read, seen, pinned, notification }) =>
      Object.freeze({ position, read, seen, pinned, notification }),
    );
    const more = this.#next !== null;
    return Object.freeze({ items: shown, loaded: this.#loaded, more, unread: Math.max(0, unread), unseen: Math.max(0, unseen) });
  }

  /** @param {Message} message */
  #add({ position, counts, supersedes, notification }) {
    if (supersedes) this.#remove({ type: "retracted", position, notifications: supersedes });
    if (!counts) return; // only shown live, or in a channel that is only watched
    const { unread, unseen } = this.#counts;
    if (position > this.#counts.position) this.#counts = { unread: unread + 1, unseen: unseen + 1, position };
    const isListed = this.#items.some((item) => item.notification.id === notification.id);
    if (isListed || position <= this.#at || !this.#loaded) return;
    const fresh = { position, read: false, seen: false, pinned: false, notification };
    const index = this.#items.findIndex((item) => item.position < position);
    const item = { ...fresh, at: position, exact: true, unreadSince: 0 };
    this.#items.splice(index < 0 ? this.#items.length : index, 0, item);
  }

  /** @param {Message} message */
  #remove({ position, notifications }) {
    const ids = new Set(notifications);
    const isGone = (/** @type {Known} */ item) => ids.has(item.notification.id) && position > item.at;
    for (const item of this.#items.filter(isGone)) this.#recount(position, item, undefined);
    this.#items = this.#items.filter((item) => !isGone(item));
  }

  /**
   * @param {Message} message
   * @param {Partial<Item>} patch
   */
  #patch({ type, position, notifications, notification }, patch) {
    const ids = new Set(notifications ?? [notification.id]);
    this.#items = this.#items.map((item) => {
      if (!ids.has(item.notification.id) || position <= item.at) return item;
      const unreadSince = type === "unread" ? position : item.unreadSince;
      return this.#changed(position, item, { ...item, ...patch, unreadSince });
    });
  }

  /**
   * Everything up to a position was read or seen.
   * @param {Message} message
   * @returns {boolean} whether that cannot be told of each item from here
   */
  #passUpTo({ type, position, upTo }) {
    let isUnclear = false;
    this.#items = this.#items.map((item) => {
      if (position <= item.at) return item;
      const isDone = type === "read" ? item.read : item.seen;
      if (isDone) return item;
      // A page does not say since when something is unread, nor where what had been put off was published.
      const isListedBefore = item.position <= upTo;
      const isTold = type === "read" ? item.unreadSince > 0 || !isListedBefore : isListedBefore;
      isUnclear ||= !item.exact && item.at > upTo && !isTold;
      const since = type === "read" ? item.unreadSince : 0;
      if (item.position > upTo || since > upTo) return item;
      return this.#changed(position, item, { ...item, ...PATCHES[type] });
    });
    return isUnclear;
  }

  /**
   * @param {number} position
   * @param {Known} before
   * @param {Known} after
   */
  #changed(position, before, after) {
    this.#recount(position, before, after);
    return after;
  }

  /**
   * The counts follow at once, until the server's own come with the same position.
   * @param {number} position
   * @param {Item} before
   * @param {Item | undefined} after
   */
  #recount(position, before, after) {
    if (position <= this.#counts.position) return;
    const unread = this.#counts.unread + Number(after?.read === false) - Number(!before.read);
    const unseen = this.#counts.unseen + Number(after?.seen === false) - Number(!before.seen);
    this.#counts = { ...this.#counts, unread: Math.max(0, unread), unseen: Math.max(0, unseen) };
  }
}

/**
 * What an intent makes of an item; `undefined` when it takes it out of the list.
 * @param {Intent} intent
 * @returns {(item: Item) => Item | undefined}
 */
function foresee({ type, notifications, upTo }) {
  const reported = REPORTED[type];
  if (!reported) return (item) => item;
  const ids = new Set(notifications);
  return (item) => {
    const isMeant = upTo === undefined ? ids.has(item.notification.id) : item.position <= upTo;
    if (!isMeant) return item;
    return REMOVING.has(reported) ? undefined : { ...item, ...PATCHES[reported] };
  };
}
