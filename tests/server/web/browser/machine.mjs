// What this machine does; a model is unloaded and loaded.

import { click, inBrowser, pause, texts, there, until, violationsEverywhere } from "./page.mjs";

await inBrowser(async (page) => {
  await page.evaluate(() => void (location.hash = "#machine"));
  await there(page, ".plot canvas");
  await pause(5);
  const facts = await texts(page, ".machine dd");
  const reasons = await texts(page, ".machine li");
  const broken = await violationsEverywhere(page);
  const state = (wanted) => until(page, (wanted) => document.querySelector(".machine tbody td")?.textContent === wanted, wanted);
  await click(page, "Unload");
  await state("unloaded");
  await click(page, "Load");
  await state("loaded");
  return { facts, reasons, broken };
});
