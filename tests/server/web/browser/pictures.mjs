// Takes the pictures of the documentation, for scripts/pictures.

import { ask, given, inBrowser, there, type, until } from "./page.mjs";

await inBrowser(async (page) => {
  await page.setViewport({ width: 1100, height: 720 });
  await ask(page, "What can you do?");
  await ask(page, "Who made you?");
  const views = {
    chat: async () => {},
    machine: async () => {
      await page.goto(`${given.url}/#machine`, { waitUntil: "load" });
      await there(page, ".plot canvas");
    },
    reference: async () => {
      await page.goto(`${given.url}/docs`, { waitUntil: "load" });
      await there(page, ".route");
      await type(page, ".reference input[type=search]", "/v1/completions");
      await until(page, () => document.querySelectorAll(".route").length === 1);
      await page.evaluate(() => document.querySelector(".route summary").click());
      await there(page, ".try");
      await page.evaluate(() => document.activeElement.blur());
    },
  };
  for (const [name, show] of Object.entries(views)) {
    await show();
    for (const theme of ["light", "dark"]) {
      await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: theme }]);
      await page.evaluate(() => new Promise((resolve) => setTimeout(resolve, 500)));
      await page.screenshot({ path: `${given.pictures}/${name}-${theme}.webp`, type: "webp", quality: 70 });
    }
  }
  return {};
});
