// The API: search for a route, look at an example in each language, and send a request.

import { click, inBrowser, text, texts, there, type, until, violationsEverywhere, given } from "./page.mjs";

await inBrowser(async (page) => {
  await page.goto(`${given.url}/docs`, { waitUntil: "load" });
  await there(page, ".route");
  const families = await texts(page, ".reference h3");
  const routes = (await texts(page, ".route summary code")).length;
  await type(page, ".reference input[type=search]", "/v1/completions");
  await until(page, () => document.querySelectorAll(".route").length === 1);
  await page.evaluate(() => document.querySelector(".route summary").click());
  await there(page, ".try");
  const examples = {};
  for (const language of ["curl", "Python", "JavaScript"]) {
    await click(page, language);
    await until(page, (language) => document.querySelector(".route .code-bar span").textContent.endsWith(language), language);
    examples[language] = await text(page, ".route .code pre");
  }
  await click(page, "Send");
  await there(page, ".answer");
  await until(page, () => document.querySelector(".answer").textContent.trim().endsWith("}"));
  const answer = await text(page, ".answer");
  const broken = await violationsEverywhere(page);
  return { families, routes, examples, answer, broken };
});
