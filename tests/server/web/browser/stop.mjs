// An answer that is stopped.

import { click, ended, inBrowser, send, text, until } from "./page.mjs";

await inBrowser(async (page) => {
  await send(page, "Go");
  await until(page, () => document.querySelector(".message.assistant .markdown")?.textContent.length > 10);
  await click(page, "Stop");
  await ended(page);
  return { note: await text(page, ".message.assistant .note"), text: await text(page, ".message.assistant .markdown") };
});
