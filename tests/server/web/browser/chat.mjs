// A conversation with the bundled model: ask, answer again, edit, reload, search, delete.

import { ask, begun, click, ended, gone, inBrowser, text, texts, there, type, until, violationsEverywhere } from "./page.mjs";

await inBrowser(async (page) => {
  await ask(page, "Hello");
  const first = await text(page, ".message.assistant .markdown");
  const figures = await text(page, ".figures");
  await begun(page, () => click(page, "Answer again"));
  await ended(page);
  const again = await text(page, ".branches");
  await click(page, "Edit");
  await type(page, ".editor textarea", "What can you do?");
  await begun(page, () => click(page, "Send", ".editor button"));
  await until(page, () => document.querySelector(".message.user .text")?.textContent === "What can you do?");
  await ended(page);
  const edited = await texts(page, ".branches");
  const broken = await violationsEverywhere(page);
  await page.reload({ waitUntil: "load" });
  await there(page, ".sidebar li");
  const kept = await texts(page, ".sidebar li .title");
  await type(page, "#search", "nothing like this");
  await gone(page, ".sidebar li");
  await type(page, "#search", "can");
  await there(page, ".sidebar li");
  await click(page, "Hello", ".sidebar .title");
  await there(page, ".message.user .text");
  const reopened = await text(page, ".message.user .text");
  await click(page, "×");
  await gone(page, ".sidebar li");
  return { first, figures, again, edited, broken, kept, reopened };
});
