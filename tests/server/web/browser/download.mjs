// A model is downloaded, with a cancelled attempt and a page that is left meanwhile, and deleted.

import { click, given, gone, inBrowser, texts, there, type, until, violations } from "./page.mjs";

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
  const begin = async () => {
    await type(page, ".machine form input", given.model);
    await click(page, "Download");
    await there(page, ".machine .download progress");
  };
  await begin();
  await click(page, "Cancel");
  await gone(page, ".machine .download");
  await begin();
  const broken = await violations(page);
  await until(page, () => [...window.steps].some((words) => words.includes(" left")));
  const steps = await page.evaluate(() => [...window.steps]);
  await page.reload({ waitUntil: "load" });
  await there(page, ".machine .download progress");
  await until(page, () => document.querySelectorAll(".machine tbody tr").length === 2);
  const models = await texts(page, ".machine tbody th");
  const left = (await texts(page, ".machine .error")).length;
  await click(page, "Delete");
  await until(page, () => document.querySelectorAll(".machine tbody tr").length === 1);
  await gone(page, "progress");
  return { problem, models, left, steps, broken };
});
