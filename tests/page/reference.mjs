// The reference: every operation has its place, is found by link and keyboard, and reads well on a desk and on a phone, by day
// and at night, with and without scripts.
import assert from "node:assert/strict";

import { serious, tab, tell, until, url } from "./browser.mjs";

const [width, height] = process.argv.slice(2).map(Number);

async function reads(options) {
  const { page, complaints } = await tab({ viewport: { width, height }, ...options });
  await page.goto(`${url}/reference`);
  const { paths } = await (await fetch(`${url}/openapi.json`)).json();
  const operations = Object.values(paths).flatMap((item) => Object.values(item));
  for (const { operationId, summary } of operations) {
    const card = page.locator(`article#${operationId}`);
    assert.equal(await card.locator("h3").textContent(), summary);
    assert.ok((await card.locator("> pre").textContent())?.startsWith("curl "), operationId);
  }
  assert.equal(await page.locator("article").count(), operations.length);
  const nowhere = await page.evaluate(() =>
    [...document.querySelectorAll('a[href^="#"]')].map((link) => link.getAttribute("href")).filter((href) => !document.getElementById(href.slice(1))),
  );
  assert.deepEqual(nowhere, [], "every link leads somewhere");
  const overhang = () => page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  assert.ok((await overhang()) <= 0, "nothing is wider than the screen");
  assert.deepEqual(await serious(page), []);

  // Everything unfolded, it is still sound.
  await page.evaluate(() => document.querySelectorAll("details").forEach((details) => (details.open = true)));
  assert.ok((await overhang()) <= 0, "nor unfolded");
  assert.deepEqual(await serious(page), [], "unfolded");
  assert.deepEqual(complaints, []);
}

async function isFoundByKeyboard() {
  const { page, complaints } = await tab({ viewport: { width, height } });
  await page.getByRole("link", { name: "HTTP reference" }).click();
  await page.waitForURL(/\/reference$/);
  const focused = () => page.evaluate(() => document.activeElement?.textContent?.trim());
  await page.keyboard.press("Tab");
  assert.equal(await focused(), "Skip to the operations");
  await page.keyboard.press("Enter");
  const body = page.locator("#publish summary").first();
  await body.focus();
  await page.keyboard.press("Enter");
  await until("the body is unfolded", () => page.locator("#publish details").first().evaluate((details) => details.open));
  // A link to a schema unfolds it.
  await page.locator('#publish a[href="#schema-Audience"]').first().focus();
  await page.keyboard.press("Enter");
  await until("the schema is unfolded", () => page.locator("#schema-Audience").isVisible());
  assert.deepEqual(complaints, []);
}

await tell(async () => {
  await reads({ colorScheme: "light" });
  await reads({ colorScheme: "dark", reducedMotion: "reduce" });
  await isFoundByKeyboard();
  const { page } = await tab({ viewport: { width, height }, javaScriptEnabled: false });
  await page.goto(`${url}/reference`);
  await page.locator("article#listInbox h3").waitFor();
});
