// A tool that is called, and whose result is given by hand; then an answer held to a schema.

import { ask, begun, change, click, ended, inBrowser, text, there, type, until, violationsEverywhere } from "./page.mjs";

const TOOL = { name: "get_weather", description: "The weather in a city", parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] } };
const SCHEMA = { type: "object", properties: { ok: { type: "boolean" } }, required: ["ok"], additionalProperties: false };

await inBrowser(async (page) => {
  await there(page, ".options");
  await change(page, "Tools", JSON.stringify([{ type: "function", function: TOOL }]));
  await ask(page, "What is the weather in Paris?");
  await there(page, ".call");
  const call = await text(page, ".call h3");
  const given = await text(page, ".call pre");
  await type(page, ".results textarea", '{"temperature": 21}');
  await begun(page, () => click(page, "Send result"));
  await ended(page);
  const title = await text(page, ".message.tool h2");
  const result = await text(page, ".message.tool .text");
  await change(page, "Tools", "");
  await change(page, "Schema of the answer", JSON.stringify(SCHEMA));
  await ask(page, "Is it warm?");
  await there(page, ".message:last-child .hljs-literal");
  const json = await text(page, ".message:last-child .code pre");
  await page.evaluate(() => Object.defineProperty(navigator, "clipboard", { value: { writeText: async (text) => void (window.copied = text) } }));
  const copied = [];
  for (const place of [".code", "footer"]) {
    await click(page, "Copy", `.message:last-child ${place} button`);
    await until(page, () => window.copied !== undefined);
    copied.push(await page.evaluate(() => window.copied));
    await page.evaluate(() => delete window.copied);
  }
  const broken = await violationsEverywhere(page);
  return { call, arguments: given, title, result, json, copied, broken };
});
