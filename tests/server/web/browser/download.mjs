// A model is downloaded, and deleted.

import { click, given, gone, inBrowser, texts, there, type, until } from "./page.mjs";

await inBrowser(async (page) => {
  await page.evaluate(() => void (location.hash = "#machine"));
  await type(page, ".machine form input", "no/such:thing");
  await click(page, "Download");
  await there(page, ".machine .error");
  const [problem] = await texts(page, ".machine .error");
  await page.evaluate(() => {
    window.steps = new Set();
    const watch = () => document.querySelectorAll(".machine [role=status]").forEach((one) => window.steps.add(one.textContent.trim()));
    new MutationObserver(watch).observe(document.body, { childList: true, subtree: true, characterData: true });
  });
  await type(page, ".machine form input", given.model);
  await click(page, "Download");
  await until(page, () => document.querySelectorAll(".machine tbody tr").length === 2);
  const models = await texts(page, ".machine tbody th");
  const left = (await texts(page, ".machine .error")).length;
  await click(page, "Delete");
  await until(page, () => document.querySelectorAll(".machine tbody tr").length === 1);
  await gone(page, "progress");
  return { problem, models, left, steps: await page.evaluate(() => [...window.steps]) };
});
