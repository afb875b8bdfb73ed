// A model that is being loaded, for as long as one looks.

import { click, ended, inBrowser, send, text, there, until } from "./page.mjs";

await inBrowser(async (page) => {
  await page.evaluate(() => (document.querySelector(".options").open = true));
  await until(page, () => document.querySelector(".options").textContent.includes(" %"));
  const choice = await page.evaluate(() => document.querySelector(".options select").options[1].textContent);
  await send(page, "Hello");
  await until(page, () => document.querySelector(".pause")?.textContent.includes(" %"));
  const pause = await text(page, ".pause");
  await click(page, "Stop");
  await ended(page);
  await page.evaluate(() => void (location.hash = "#machine"));
  await there(page, ".machine progress");
  return { choice, pause, table: await text(page, ".machine tbody td") };
});
