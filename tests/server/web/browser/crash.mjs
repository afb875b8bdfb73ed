// The engine stands still in the middle of an answer, and is then killed: the page shows a pause, and goes on.

import { ended, inBrowser, send, text, texts, until } from "./page.mjs";

await inBrowser(async (page) => {
  await send(page, "What can you do?");
  await until(page, () => document.querySelector(".pause")?.textContent.startsWith("Pause of"));
  const pause = await text(page, ".pause");
  const before = await text(page, ".message.assistant .markdown");
  await ended(page);
  return { pause, before, answer: await text(page, ".message.assistant .markdown"), left: (await texts(page, ".pause")).length };
});
