// Ten thousand tokens: how long the page takes for a frame at the beginning and at the end.

import { ended, inBrowser, send, text } from "./page.mjs";

await inBrowser(async (page) => {
  await page.evaluate(() => {
    window.frames_seen = [];
    let last = performance.now();
    const frame = (now) => {
      window.frames_seen.push(now - last);
      last = now;
      requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
  });
  await send(page, "Go");
  await ended(page, 100);
  const frames = await page.evaluate(() => window.frames_seen);
  const part = Math.floor(frames.length / 4);
  const median = (values) => values.sort((a, b) => a - b)[Math.floor(values.length / 2)];
  return { early: median(frames.slice(0, part)), late: median(frames.slice(-part)), worst: Math.max(...frames), words: (await text(page, ".message.assistant .markdown")).split(/\s+/).length };
});
