// A daemon that wants a key: a wrong one, then the right one.

import { ask, click, inBrowser, text, there, type, violations } from "./page.mjs";

await inBrowser(async (page) => {
  const enter = async (value) => {
    await type(page, "main.key input[type=password]", value);
    await click(page, "Open");
  };
  await there(page, "main.key");
  const broken = await violations(page);
  await enter("wrong-key-0123456789");
  await there(page, "main.key .error");
  const problem = await text(page, "main.key .error");
  await enter("right-key-0123456789");
  await ask(page, "Hello");
  return { broken, problem, answer: await text(page, ".message.assistant .markdown"), kept: await page.evaluate(() => localStorage.length) };
});
