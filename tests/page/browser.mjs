// What the tests of the page share: Chromium, with an eye on the console, on every request and on accessibility, and where
// things are on the page.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

import { chromium } from "playwright-core";

export const url = process.env.TIDINGS_URL;
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const BROWSERS = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
/** How long anything may take that should happen at once. Generous: this is about truth, not about time. */
const PATIENCE_MS = 20_000;

const browser = await launch();

/** Runs a story and closes the browser, whatever becomes of it. */
export async function tell(story) {
  try {
    await story();
  } finally {
    await browser.close();
  }
}

async function launch() {
  for (const executablePath of [process.env.TIDINGS_CHROMIUM, ...BROWSERS].filter(Boolean)) {
    const launched = await chromium.launch({ executablePath }).catch((error) => error);
    if (!(launched instanceof Error)) return launched;
    if (!/doesn't exist/.test(launched.message)) throw launched;
  }
  throw new Error("Chromium is missing: ./test.sh installs it");
}

/** A tab, and everything about it that nobody should have to read. */
export async function tab(options) {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  const complaints = [];
  page.on("console", (said) => ["error", "warning"].includes(said.type()) && complaints.push(said.text()));
  page.on("pageerror", (error) => complaints.push(error.message));
  const isOurs = (address) => address.startsWith(url) || address.startsWith(url.replace("http", "ws"));
  page.on("request", (request) => isOurs(request.url()) || complaints.push(`asked ${request.url()}`));
  page.on("websocket", (socket) => isOurs(socket.url()) || complaints.push(`opened ${socket.url()}`));
  page.setDefaultTimeout(PATIENCE_MS);
  await page.goto(url);
  return { page, complaints, context };
}

/** What the page says of accessibility that is serious. */
export async function serious(page) {
  // Half-transparent is what fades in has for a moment.
  await page.evaluate(() => Promise.all(document.getAnimations().map(({ effect, finished }) => effect?.getComputedTiming().endTime !== Infinity && finished.catch(() => {}))));
  // Evaluated by the driver, where the page's content policy does not apply.
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
  const grave = violations.filter(({ impact }) => impact === "serious" || impact === "critical");
  return grave.map(({ id, nodes }) => `${id}: ${nodes.map(({ html, failureSummary }) => `${html} ${failureSummary}`).join("; ")}`);
}

export const person = (page, n) => page.locator(".person").nth(n);
export const device = (page, n, kind) => person(page, n).locator(`.device[data-kind=${kind}]`);
export const four = (page) => [0, 1].flatMap((n) => ["phone", "laptop"].map((kind) => device(page, n, kind)));
export const row = (card, title) => card.locator(".item", { hasText: title });

export async function until(what, isSo) {
  const end = Date.now() + PATIENCE_MS;
  let is;
  while (!(is = await isSo())) {
    if (Date.now() > end) throw new Error(`expected that ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  return is;
}

export const unread = async (card) => Number(await card.locator(".count").textContent());
export const allUnread = async (page) => Promise.all(four(page).map(unread));
export const counts = (page, expected) =>
  until(`the badges are ${expected}`, async () => (await allUnread(page)).join() === expected.join());
