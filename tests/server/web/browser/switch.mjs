// Another model is chosen in the middle of a conversation, and loaded for its answer.

import { ask, change, ended, inBrowser, send, text, texts, there, until } from "./page.mjs";

await inBrowser(async (page) => {
  const choice = () => texts(page, ".options select:first-of-type option");
  await page.evaluate(() => (document.querySelector(".options").open = true));
  await until(page, () => document.querySelectorAll(".options select")[0].options.length === 3);
  await until(page, () => document.querySelector(".options").textContent.includes("nano (loaded)"));
  const before = await choice();
  await ask(page, "Hello");
  await change(page, "Model", "other");
  await send(page, "And you?");
  await there(page, ".pause");
  await until(page, () => document.querySelector(".pause")?.textContent.startsWith("Pause of"));
  const pause = await text(page, ".pause");
  await until(page, () => document.querySelector(".options").textContent.includes("other (loading)"));
  await ended(page);
  await until(page, () => document.querySelector(".options").textContent.includes("other (loaded)"));
  const models = await texts(page, ".message.assistant h2");
  const answers = await texts(page, ".message.assistant .markdown");
  return { before: before.slice(0, 3), pause, models, answers, label: await text(page, ".options summary bdi") };
});
