// Copies texts.

import { html, useState } from "./html.js";

/** @param text returns what is copied */
export function CopyButton({ text }) {
  const [label, setLabel] = useState("Copy");
  const act = async () => {
    setLabel((await copy(text())) ? "Copied" : "Not allowed");
    setTimeout(() => setLabel("Copy"), 1500);
  };
  return html`<button type="button" class="quiet" onClick=${act}>${label}</button>`;
}

/** Put a text on the clipboard; plain HTTP beyond loopback has no clipboard API. */
async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = Object.assign(document.createElement("textarea"), { value: text, className: "offscreen" });
    document.body.append(area);
    area.select();
    const copied = document.execCommand("copy");
    area.remove();
    return copied;
  }
}
