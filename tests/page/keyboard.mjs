// The page without a mouse, without movement and in the dark: everything can be reached, seen and heard.
import assert from "node:assert/strict";

import { allUnread, counts, person, serious, tab, tell, until } from "./browser.mjs";

async function byKeyboard() {
  const { page, complaints } = await tab({ viewport: { width: 1280, height: 900 }, reducedMotion: "reduce", colorScheme: "dark" });
  await page.locator('.device[data-status="live"]').nth(3).waitFor();
  const focused = () => page.evaluate(() => document.activeElement?.getAttribute("aria-label") ?? document.activeElement?.textContent?.trim());
  await page.keyboard.press("Tab");
  assert.equal(await focused(), "Skip to publishing");
  await page.keyboard.press("Enter");
  await page.keyboard.press("Tab");
  await page.keyboard.press("ArrowRight"); // from Ada to Ben
  assert.equal(await page.locator("#to input:checked").getAttribute("value"), "person-1");
  await page.keyboard.press("Tab");
  await page.keyboard.press("Control+A");
  await page.keyboard.type("by keyboard");
  const before = await allUnread(page);
  await page.keyboard.press("Enter");
  await counts(page, [before[0], before[1], before[2] + 1, before[3] + 1]);
  // On through the page until the new one can be read, every stop of it visible.
  let stops = 0;
  while (!/^Mark read: by keyboard/.test((await focused()) ?? "")) {
    await page.keyboard.press("Tab");
    stops += 1;
    assert.ok(stops < 120, "Tab leads to the button");
    const ring = await page.evaluate(() => {
      const target = document.activeElement;
      const shown = target instanceof HTMLInputElement && target.type === "radio" ? target.nextElementSibling : target;
      return shown === document.body || getComputedStyle(shown).outlineStyle !== "none";
    });
    assert.ok(ring, `focus is to be seen: ${await focused()}`);
  }
  await page.keyboard.press("Enter");
  await counts(page, before);
  assert.match(await focused(), /^Mark unread: by keyboard/, "focus stays");
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter"); // archive
  await until("it is gone", async () => (await person(page, 1).locator(".item", { hasText: "by keyboard" }).count()) === 0);
  assert.ok(await page.evaluate(() => document.activeElement !== document.body), "focus is not lost with the row");
  await until("it was said", async () => (await page.locator("#announcer").textContent())?.includes("Ben: by keyboard"));
  const moving = await page.evaluate(() => document.getAnimations().filter((one) => one.playState === "running").length);
  assert.equal(moving, 0, "nothing moves for those who do not want it");
  assert.deepEqual(await serious(page), [], "in the dark");
  assert.deepEqual(complaints, []);
}

await tell(byKeyboard);
