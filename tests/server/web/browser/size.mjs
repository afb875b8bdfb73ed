// What the page asks for until a message can be written, with an empty cache: files, and their bytes unpacked.

import { given, inBrowser, there } from "./page.mjs";

await inBrowser(async (page) => {
  const fresh = await (await page.browser().createBrowserContext()).newPage();
  await fresh.goto(`${given.url}/`, { waitUntil: "load" });
  await there(fresh, "#message");
  return fresh.evaluate(() => {
    const read = [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")];
    return { requests: read.length, bytes: read.reduce((sum, each) => sum + each.decodedBodySize, 0) };
  });
});
