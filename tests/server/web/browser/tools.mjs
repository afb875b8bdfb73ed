// A tool that is called, and whose result is given by hand; then an answer held to a schema.

import { ask, begun, click, ended, fill, inBrowser, text, texts, there, type } from "./page.mjs";

const TOOL = { name: "get_weather", description: "The weather in a city", parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] } };
const SCHEMA = { type: "object", properties: { ok: { type: "boolean" } }, required: ["ok"], additionalProperties: false };

await inBrowser(async (page) => {
  await there(page, ".options");
  await fill(page, "Tools", JSON.stringify([{ type: "function", function: TOOL }]));
  await ask(page, "What is the weather in Paris?");
  await there(page, ".call");
  const call = await text(page, ".call h3");
  const given = await text(page, ".call pre");
  await type(page, ".results textarea", '{"temperature": 21}');
  await begun(page, () => click(page, "Send result"));
  await ended(page);
  const result = await text(page, ".message.tool .text");
  await fill(page, "Tools", "");
  await fill(page, "Schema of the answer", JSON.stringify(SCHEMA));
  await ask(page, "Is it warm?");
  const answers = await texts(page, ".message.assistant .markdown");
  return { call, arguments: given, result, json: answers.at(-1) };
});
