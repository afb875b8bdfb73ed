// What this machine does; a model is unloaded and loaded.

import { click, inBrowser, texts, there, until, violationsEverywhere } from "./page.mjs";

/** The texts of each row of the table with this title. */
const rows = (page, title) =>
  page.evaluate((title) => {
    const section = [...document.querySelectorAll(".machine section")].find((one) => one.querySelector("h2").textContent === title);
    return [...section.querySelectorAll("tbody tr")].map((row) => [...row.children].map((cell) => cell.textContent.trim()));
  }, title);

await inBrowser(async (page) => {
  await page.evaluate(() => void (location.hash = "#machine"));
  await there(page, ".plot canvas");
  const facts = await texts(page, ".machine dd");
  const reasons = await texts(page, ".machine li");
  const exits = (await rows(page, "Restarts of engines")).map((row) => row.slice(1));
  const peers = (await rows(page, "Other boards")).map((row) => row.slice(0, 3));
  const links = await page.evaluate(() => [...document.querySelectorAll(".machine td a, .machine th a")].map((one) => one.href));
  const bars = await page.evaluate(() =>
    [...document.querySelectorAll(".bars tr")].map((row) => {
      const width = Number(row.querySelector("rect").getAttribute("width")).toFixed(1);
      return [row.querySelector("th").textContent, width, row.querySelector("td:last-child").textContent];
    }),
  );
  const broken = await violationsEverywhere(page);
  const state = (wanted) => until(page, (wanted) => document.querySelector(".machine tbody td")?.textContent === wanted, wanted);
  await click(page, "Unload");
  await state("unloaded");
  await click(page, "Load");
  await state("loaded");
  return { facts, reasons, exits, peers, links, bars, broken };
});
