// An answer that tries everything, and one that is very long.

import { ended, inBrowser, send } from "./page.mjs";

await inBrowser(async (page) => {
  await send(page, "Go");
  await ended(page);
  const seen = await page.evaluate(() => {
    const shown = document.querySelector(".message.assistant .markdown");
    return {
      hacked: window.hacked ?? null,
      elements: [...new Set([...shown.querySelectorAll("*")].map((one) => one.tagName.toLowerCase()))].sort(),
      handlers: [...shown.querySelectorAll("*")].filter((one) => [...one.attributes].some((attribute) => /^on|^style$|^src/.test(attribute.name))).length,
      links: [...shown.querySelectorAll("a")].map((one) => one.getAttribute("href")),
      wide: document.documentElement.scrollWidth > innerWidth,
      length: shown.textContent.length,
    };
  });
  return seen;
});
