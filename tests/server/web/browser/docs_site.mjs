// Opens the documentation from a folder, looks which colours it takes, and searches it.

import { given, inBrowser, there, until } from "./page.mjs";

await inBrowser(async (page) => {
  const schemes = {};
  for (const theme of ["dark", "light"]) {
    await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: theme }]);
    await page.goto(`${given.url}/index.html`, { waitUntil: "load" });
    await there(page, ".md-search__button");
    schemes[theme] = await page.evaluate(() => document.body.getAttribute("data-md-color-scheme"));
  }
  // The window for a search is in a shadow root, where no selector reaches.
  await page.evaluate(() => {
    const window_ = () => [...document.querySelectorAll("div")].map((one) => one.shadowRoot).find((root) => root?.querySelector("dialog"));
    window.typing = () => window_()?.activeElement?.tagName === "INPUT";
    window.found = () => [...window_().querySelectorAll("a")].map((one) => one.textContent);
  });
  await until(page, () => {
    if (!window.typing()) document.querySelector(".md-search__button").click();
    return window.typing();
  });
  await page.keyboard.type(given.words);
  await until(page, (words) => window.found().some((one) => one.includes(words)), given.words);
  return { schemes, found: await page.evaluate(() => window.found()) };
});
