// The page in Chromium: two people on two devices each, a service that publishes, and what becomes of it.
//   node story.mjs WIDTH HEIGHT
import assert from "node:assert/strict";

import { allUnread, counts, device, four, person, row, serious, tab, tell, until } from "./browser.mjs";

const [width, height] = process.argv.slice(2).map(Number);

async function publish(page, to, title) {
  await page.locator("#to label", { hasText: to }).click();
  await page.fill("#title", title);
  await page.click("#publish-form button");
  await page.locator("#receipt", { hasText: "On disk at position" }).waitFor();
}

/** How far the chosen notification has come on a device: `routed,sent,…`. */
async function status(page, n, kind) {
  const rows = page.locator(`#status tr`, { hasText: new RegExp(`^${["Ada", "Ben"][n]} ${kind}`, "i") });
  if ((await rows.count()) !== 1) return "";
  const done = await rows.locator("td").evaluateAll((cells) => cells.map((cell) => cell.dataset.done === "true"));
  return ["routed", "sent", "delivered", "read"].filter((_, step) => done[step]).join();
}

const reaches = (page, n, kind, expected) =>
  until(`${kind} of ${n} is ${expected}`, async () => (await status(page, n, kind)) === expected);

async function theStory() {
  const { page, complaints } = await tab({ viewport: { width, height } });
  for (const card of four(page)) await card.and(page.locator('[data-status="live"]')).waitFor();
  assert.deepEqual(await page.locator(".state-text").allTextContents(), ["Live · WebSocket", "Live · SSE", "Live · WebSocket", "Live · SSE"]);
  await counts(page, [0, 0, 0, 0]);
  assert.equal(await page.locator(".empty:visible", { hasText: "Nothing here" }).count(), 4);
  assert.deepEqual(await serious(page), []);

  // To one, to the other, to both, to everyone: each device has it, with the count.
  await publish(page, "Ada", "for Ada");
  await counts(page, [1, 1, 0, 0]);
  await publish(page, "Both", "for both");
  await counts(page, [2, 2, 1, 1]);
  await publish(page, "Everyone", "for everyone");
  await counts(page, [3, 3, 2, 2]);
  for (const card of four(page)) await row(card, "for everyone").waitFor();
  await reaches(page, 0, "phone", "routed,sent,delivered");
  await reaches(page, 0, "laptop", "routed,sent");
  await reaches(page, 1, "phone", "routed,sent,delivered");
  assert.equal(await page.locator('#totals [data-step="delivered"] dd').textContent(), "2");

  // Read on one device: the other follows, the status moves, and so does the badge in the bar.
  await row(device(page, 0, "phone"), "for everyone").getByRole("button", { name: "Mark read" }).click();
  await counts(page, [2, 2, 2, 2]);
  await row(device(page, 0, "laptop"), "for everyone").and(page.locator('[data-read="true"]')).waitFor();
  await reaches(page, 0, "laptop", "routed,sent,read");
  await until("one has read it", async () => (await page.locator('#totals [data-step="read"] dd').textContent()) === "1");
  await row(device(page, 0, "laptop"), "for everyone").getByRole("button", { name: "Mark unread" }).click();
  await counts(page, [3, 3, 2, 2]);
  await row(device(page, 1, "laptop"), "for both").getByRole("button", { name: "Archive" }).click();
  await until("it is gone on both", async () => (await person(page, 1).locator(".item", { hasText: "for both" }).count()) === 0);
  await counts(page, [3, 3, 1, 1]);

  // Offline: it shows what it had, takes a command, and has what it missed once it is back, marked.
  const phone = device(page, 0, "phone");
  await phone.getByRole("button", { name: "Go offline" }).click();
  await phone.locator(".state-text", { hasText: "Offline" }).waitFor();
  await row(phone, "for Ada").getByRole("button", { name: "Mark read" }).click();
  await counts(page, [2, 3, 1, 1]);
  await publish(page, "Both", "while away");
  await counts(page, [2, 4, 2, 2]);
  await reaches(page, 0, "phone", "routed");
  await reaches(page, 0, "laptop", "routed,sent");
  assert.deepEqual(await serious(page), []);
  await phone.getByRole("button", { name: "Reconnect" }).click();
  await row(phone, "while away").locator(".tag:visible").waitFor();
  assert.equal(await phone.locator(".tag:visible").count(), 1);
  await counts(page, [3, 3, 2, 2]);
  await reaches(page, 0, "phone", "routed,sent,delivered");
  await row(device(page, 0, "laptop"), "for Ada").and(page.locator('[data-read="true"]')).waitFor();

  // A stream acknowledges by coming back.
  const laptop = device(page, 1, "laptop");
  await laptop.getByRole("button", { name: "Go offline" }).click();
  await laptop.getByRole("button", { name: "Reconnect" }).click();
  await reaches(page, 1, "laptop", "routed,sent,delivered");
  await device(page, 1, "phone").getByRole("button", { name: "Mark all read" }).click();
  await counts(page, [3, 3, 0, 0]);

  assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), "nothing is wider than the screen");
  for (const [theme, background] of [["dark", "rgb(20, 22, 28)"], ["light", "rgb(245, 241, 233)"]]) {
    await page.locator(`#theme label`, { hasText: new RegExp(theme, "i") }).click();
    await until(`it is ${theme}`, async () => (await page.evaluate(() => getComputedStyle(document.body).backgroundColor)) === background);
    assert.deepEqual(await serious(page), [], theme);
  }
  assert.deepEqual(complaints, []);
  await whatIsRefused(page, complaints);
}

/** The server's words are shown. Chromium notes each refusal in the console; that alone is to be expected. */
async function whatIsRefused(page, complaints) {
  await page.fill("#title", "x".repeat(600));
  await page.click("#publish-form button");
  await page.locator("#refusal", { hasText: "title: expected at most 512 bytes" }).waitFor();
  assert.ok(complaints.every((text) => /status of 422/.test(text)), `${complaints}`);
  await publish(page, "Ada", "well again");
  assert.equal(await page.locator("#refusal").textContent(), "");
}

await tell(theStory);
