// Opens the page in a real browser, and collects what must not happen: foreign requests, errors, violations.

import { createRequire } from "node:module";
import { readFileSync } from "node:fs";

const require = createRequire(`${process.env.EDGEINFER_TEST_MODULES}/`);
const puppeteer = require("puppeteer-core").default ?? require("puppeteer-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

const CHROMIUM = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];

export const given = JSON.parse(process.argv[2]);
export const pause = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));

/** Run `act` on an open page and print what it returns, with what went wrong. */
export async function inBrowser(act) {
  const browser = await puppeteer.launch({
    browser: given.browser === "firefox" ? "firefox" : "chrome",
    executablePath: given.executable,
    args: given.browser === "firefox" ? [] : CHROMIUM,
    userDataDir: `${given.home}/profile`,
  });
  const foreign = [];
  const errors = [];
  try {
    const page = await browser.newPage();
    await page.setViewport({ width: 1200, height: 800 });
    page.on("request", (request) => {
      if (!/^(data|blob|about):/.test(request.url()) && !request.url().startsWith(given.url)) foreign.push(request.url());
    });
    page.on("console", (message) => message.type() === "error" && errors.push(message.text()));
    page.on("pageerror", (error) => errors.push(`${error.message}\n${error.stack}`));
    page.on("dialog", (dialog) => dialog.accept());
    await page.goto(`${given.url}/`, { waitUntil: "load" });
    const seen = await act(page);
    console.log(JSON.stringify({ foreign, errors, ...seen }));
  } catch (error) {
    throw new Error(`${error.stack}\nthe console has ${JSON.stringify(errors)}`);
  } finally {
    await browser.close();
  }
}

// puppeteer's own ways to find and wait make functions of text in the page, which the page's policy forbids in Firefox.

export const text = (page, selector) => page.evaluate((selector) => document.querySelector(selector).textContent, selector);
export const texts = (page, selector) =>
  page.evaluate((selector) => [...document.querySelectorAll(selector)].map((one) => one.textContent), selector);

/** Wait until a function of the page is true. */
export async function until(page, condition, argument, seconds = 60) {
  for (const end = Date.now() + seconds * 1000; Date.now() < end; await pause(0.1)) {
    if (await page.evaluate(condition, argument)) return;
  }
  throw new Error(`not within ${seconds} s: ${condition} of ${argument}; the page has ${await page.evaluate(() => document.body.innerText)}`);
}

export const there = (page, selector) => until(page, (selector) => document.querySelector(selector) !== null, selector);
export const gone = (page, selector) => until(page, (selector) => document.querySelector(selector) === null, selector);

/** Type into a field that may have something in it. */
export async function type(page, selector, words) {
  await there(page, selector);
  await page.evaluate((selector) => {
    const field = document.querySelector(selector);
    field.focus();
    field.select();
  }, selector);
  await page.keyboard.press("Delete");
  await page.keyboard.type(words);
}

/** Change the field with this label at once. */
export const change = (page, label, value) =>
  page.evaluate(
    ([label, value]) => {
      const field = [...document.querySelectorAll("label")].find((one) => one.textContent.trim().startsWith(label)).querySelector("input, select, textarea");
      field.value = value;
      field.dispatchEvent(new Event("input", { bubbles: true }));
      field.dispatchEvent(new Event("change", { bubbles: true }));
    },
    [label, value],
  );

/** Click on the last button, or what `selector` finds, with these words. */
export async function click(page, words, selector = "button") {
  const found = ([words, selector]) => [...document.querySelectorAll(selector)].some((one) => one.textContent.trim() === words && !one.disabled);
  await until(page, found, [words, selector]);
  await page.evaluate(
    ([words, selector]) => [...document.querySelectorAll(selector)].filter((one) => one.textContent.trim() === words && !one.disabled).at(-1).click(),
    [words, selector],
  );
}

/** Send a message, and wait until the answer has ended. */
export async function ask(page, words) {
  await send(page, words);
  await ended(page);
}

export async function send(page, words) {
  await type(page, "#message", words);
  await begun(page, () => page.keyboard.press("Enter"));
}

/** Do something that begins an answer, and wait until it has begun. */
export async function begun(page, act) {
  await page.evaluate(() => {
    const old = new Set(document.querySelectorAll(".message.assistant"));
    window.answer_begun = false;
    const watch = () => (window.answer_begun ||= [...document.querySelectorAll(".message.assistant")].some((one) => !old.has(one)));
    new MutationObserver(watch).observe(document.getElementById("app"), { childList: true, subtree: true });
  });
  await act();
  await until(page, () => window.answer_begun);
}

export const ended = (page, seconds = 60) => until(page, () => document.querySelector(".messages[aria-busy=false]") !== null, null, seconds);

/** The rules of axe-core that the page breaks. */
export async function violations(page) {
  await page.evaluate(axe);
  const found = await page.evaluate(async () => (await window.axe.run()).violations);
  return found.map((one) => `${one.id}: ${one.nodes.map((node) => node.html).join(" ").slice(0, 300)}`);
}

/** The rules broken in both themes and at the width of a phone. */
export async function violationsEverywhere(page) {
  const found = [];
  for (const theme of ["light", "dark"]) {
    if (given.browser !== "firefox") await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: theme }]);
    for (const width of [1200, 390]) {
      await page.setViewport({ width, height: 800 });
      for (const one of await violations(page)) found.push(`${theme} ${width}: ${one}`);
    }
  }
  await page.setViewport({ width: 1200, height: 800 });
  return found;
}
