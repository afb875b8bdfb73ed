// What the page asks for until a message can be written, with an empty cache: files, and their bytes unpacked.

import { given, inBrowser, pause, until } from "./page.mjs";

await inBrowser(async (page) => {
  const fresh = await (await page.browser().createBrowserContext()).newPage();
  await fresh.evaluateOnNewDocument(() => {
    const watch = new MutationObserver(() => {
      if (!document.querySelector("#message")) return;
      window.writable = performance.now();
      watch.disconnect();
    });
    watch.observe(document, { childList: true, subtree: true });
  });
  await fresh.goto(`${given.url}/`, { waitUntil: "load" });
  await until(fresh, () => window.writable !== undefined);
  await pause(2); // what is asked for later than that does not count
  return fresh.evaluate(() => {
    const all = [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")];
    const read = all.filter((entry) => entry.startTime <= window.writable);
    return { all: all.length, requests: read.length, bytes: read.reduce((sum, each) => sum + each.decodedBodySize, 0) };
  });
});
