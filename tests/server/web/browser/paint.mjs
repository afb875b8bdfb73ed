// How soon the page is there with a CPU that is four times as slow, each time with an empty cache.

import { given, inBrowser, there } from "./page.mjs";

const SLOWER = 4;

await inBrowser(async (page) => {
  const times = [];
  for (let n = 0; n < given.tries; n++) {
    const context = await page.browser().createBrowserContext();
    const fresh = await context.newPage();
    await fresh.emulateCPUThrottling(SLOWER);
    await fresh.evaluateOnNewDocument(() => {
      const watch = () => {
        if (!window.usable && document.getElementById("message")) window.usable = performance.now();
      };
      new MutationObserver(watch).observe(document, { childList: true, subtree: true });
    });
    await fresh.goto(`${given.url}/`, { waitUntil: "load" });
    await there(fresh, "#message");
    times.push(await fresh.evaluate(async () => {
      await new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));
      return { paint: performance.getEntriesByName("first-contentful-paint")[0].startTime, usable: window.usable };
    }));
    await context.close();
  }
  return { times };
});
