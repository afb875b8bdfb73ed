// A tool of an MCP server: refused, called, and then called without a question.

import { ask, click, ended, inBrowser, text, texts, there, until, violationsEverywhere } from "./page.mjs";

await inBrowser(async (page) => {
  await there(page, ".options li");
  const servers = await texts(page, ".options li");
  await ask(page, "What do nails cost?");
  await there(page, ".results");
  const question = await text(page, ".results p");
  const given = await text(page, ".call pre");
  const broken = await violationsEverywhere(page);
  await click(page, "Refuse");
  await until(page, () => document.querySelectorAll(".message.tool").length === 1);
  await until(page, () => document.querySelector(".results button") !== null);
  await click(page, "Always call this tool");
  await until(page, () => document.querySelectorAll(".message.tool").length === 3);
  await ended(page);
  const results = await texts(page, ".message.tool .text");
  const answer = await text(page, ".message:last-child .markdown");
  return { servers, question, arguments: given, results, answer, broken };
});
