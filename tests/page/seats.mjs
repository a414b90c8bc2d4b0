// The page of a server without a demo: it asks for tokens, keeps them nowhere, and says why one is refused.
import assert from "node:assert/strict";

import { counts, device, row, serious, tab, tell } from "./browser.mjs";
import { ask, token } from "./world.mjs";

async function broughtTokens() {
  const { page, complaints } = await tab({ viewport: { width: 390, height: 844 } });
  await page.locator("h2", { hasText: "Bring your tokens" }).waitFor();
  assert.ok(await page.locator("code", { hasText: "tidings token --user ada" }).isVisible());
  assert.ok(await page.locator("#desk").isHidden());
  assert.deepEqual(await serious(page), []);
  await page.getByRole("button", { name: "Connect" }).click();
  await page.locator("#seats-refusal", { hasText: "Expected the token of a person" }).waitFor();

  await page.fill("#seat-first", token({ sub: "grace" }));
  await page.fill("#seat-second", "forged");
  await page.fill("#seat-service", token({ scope: "publish" }));
  await page.getByRole("button", { name: "Connect" }).click();
  const phone = device(page, 0, "phone");
  await phone.and(page.locator('[data-status="live"]')).waitFor();
  await page.locator(".person h2", { hasText: "Grace" }).waitFor();
  const refused = device(page, 1, "phone");
  await refused.locator(".refusal", { hasText: "a valid token is needed" }).waitFor();
  await device(page, 1, "laptop").locator(".refusal", { hasText: /token/ }).waitFor();
  assert.deepEqual(await serious(page), []);

  await page.locator("#to label", { hasText: "Grace" }).click();
  await page.fill("#title", "for Grace");
  await page.click("#publish-form button");
  await row(phone, "for Grace").waitFor();
  await counts(page, [1, 1, 0, 0]);
  // Publishing is all that the service's token allows: the server says what the status would need.
  await page.locator("#deliveries-refusal", { hasText: "this needs the scope `admin`" }).waitFor();
  assert.ok(complaints.every((text) => /status of 40[13]/.test(text)), `${complaints}`);

  const kept = await page.evaluate(() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie]));
  assert.equal(kept, '[{},{},""]');
  await page.reload();
  await page.locator("h2", { hasText: "Bring your tokens" }).waitFor();
  assert.equal(await page.inputValue("#seat-first"), "");
  assert.equal((await ask("GET", "/v1/inbox", undefined, token({ sub: "grace" }))).unread, 1);
}

await tell(broughtTokens);
