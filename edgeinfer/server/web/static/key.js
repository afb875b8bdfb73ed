// Asks for the API key where the daemon wants one.

import { getJson, key } from "./api.js";
import { html, useEffect, useRef, useState } from "./html.js";

export function KeyForm({ accepted }) {
  const [value, setValue] = useState("");
  const [remember, setRemember] = useState(false);
  const [problem, setProblem] = useState("");
  const field = useRef(null);
  useEffect(() => field.current.focus(), []);

  async function submit(event) {
    event.preventDefault();
    key.set(value.trim(), remember);
    try {
      await getJson("/v1/models");
      accepted();
    } catch (error) {
      key.set("", false);
      setProblem(error.status === 401 ? "The daemon does not know this key." : error.message);
    }
  }

  return html`
    <main class="key">
      <form onSubmit=${submit}>
        <h1>edgeinfer</h1>
        <p>This daemon wants an API key. <code>edgeinfer key add NAME</code> makes one.</p>
        <label>API key <input ref=${field} type="password" autocomplete="current-password" value=${value} onInput=${(event) => setValue(event.target.value)} /></label>
        <label class="check"><input type="checkbox" checked=${remember} onChange=${(event) => setRemember(event.target.checked)} /> Keep it in this browser</label>
        ${problem && html`<p class="error" role="alert">${problem}</p>`}
        <button type="submit" disabled=${!value.trim()}>Open</button>
      </form>
    </main>
  `;
}
