// The engine stands still while it should answer, and is then killed: the page shows a pause, and goes on.

import { ended, inBrowser, send, text, texts, until } from "./page.mjs";

await inBrowser(async (page) => {
  await send(page, "Hello");
  await until(page, () => document.querySelector(".pause")?.textContent.startsWith("Pause of"));
  const pause = await text(page, ".pause");
  await ended(page);
  return { pause, answer: await text(page, ".message.assistant .markdown"), left: (await texts(page, ".pause")).length };
});
