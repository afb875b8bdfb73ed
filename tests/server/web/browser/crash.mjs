// The engine stands still in the middle of an answer, and is then killed: the page shows a pause, and goes on.

import { change, ended, inBrowser, send, text, texts, there, until } from "./page.mjs";

await inBrowser(async (page) => {
  await there(page, ".options");
  await change(page, "Temperature", "0");
  await send(page, "What can you do?");
  await until(page, () => document.querySelector(".message.assistant .markdown")?.textContent.trim());
  await until(page, () => document.querySelector(".pause")?.textContent.startsWith("Pause of"));
  const pause = await text(page, ".pause");
  const before = await text(page, ".message.assistant .markdown");
  await ended(page);
  return { pause, before, answer: await text(page, ".message.assistant .markdown"), left: (await texts(page, ".pause")).length };
});
