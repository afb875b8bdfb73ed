// The conversations: search, export, import, delete.

import { exported, imported, matches, remove, removeAll, save } from "./conversations.js";
import { html, useRef, useState } from "./html.js";

export function Sidebar({ conversations, current, open, changed }) {
  const [words, setWords] = useState("");
  const [problem, setProblem] = useState("");
  const file = useRef(null);
  const shown = words.trim() ? conversations.filter((one) => matches(one, words)) : conversations;

  async function take(event) {
    const [chosen] = event.target.files;
    event.target.value = "";
    if (!chosen) return;
    try {
      for (const conversation of imported(await chosen.text())) await save(conversation);
      setProblem("");
    } catch (error) {
      setProblem(error.message);
    }
    changed();
  }

  function download() {
    const url = URL.createObjectURL(new Blob([exported(conversations)], { type: "application/json" }));
    Object.assign(document.createElement("a"), { href: url, download: "edgeinfer-conversations.json" }).click();
    URL.revokeObjectURL(url);
  }

  async function drop(one) {
    if (!confirm(`Delete the conversation "${one.title}"?`)) return;
    await remove(one.id);
    changed(one.id);
  }

  async function dropAll() {
    if (!confirm("Delete all conversations in this browser?")) return;
    await removeAll();
    changed(current.id);
  }

  return html`
    <nav class="sidebar" aria-label="Conversations">
      <button type="button" onClick=${() => open(null)}>New conversation</button>
      <label class="hidden" for="search">Search conversations</label>
      <input id="search" type="search" placeholder="Search" value=${words} onInput=${(event) => setWords(event.target.value)} />
      <ul>
        ${shown.map((one) => html`
          <li key=${one.id} class=${one.id === current.id ? "current" : ""}>
            <button type="button" class="quiet title" aria-current=${one.id === current.id} onClick=${() => open(one)}><bdi>${one.title || "New conversation"}</bdi></button>
            <button type="button" class="quiet" aria-label=${`Delete ${one.title}`} onClick=${() => drop(one)}>×</button>
          </li>`)}
      </ul>
      ${problem && html`<p class="error" role="alert">${problem}</p>`}
      <div class="row">
        <button type="button" class="quiet" disabled=${!conversations.length} onClick=${download}>Export</button>
        <button type="button" class="quiet" onClick=${() => file.current.click()}>Import</button>
        <input ref=${file} type="file" accept="application/json" class="hidden" tabindex="-1" aria-hidden="true" onChange=${take} />
        <button type="button" class="quiet" disabled=${!conversations.length} onClick=${dropAll}>Delete all</button>
      </div>
    </nav>
  `;
}
