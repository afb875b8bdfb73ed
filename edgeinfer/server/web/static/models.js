// The models of the daemon: load, unload, delete.

import { getJson, request } from "./api.js";
import { Downloads } from "./download.js";
import { html, useState } from "./html.js";
import { memory, percent } from "./words.js";

export const listModels = async () => (await getJson("/v1/models")).data;

/** @param rows those of /status, by name */
export function Models({ models, rows, changed }) {
  const [busy, setBusy] = useState("");
  const [problem, setProblem] = useState(null);

  async function act(name, what) {
    setBusy(name);
    setProblem(null);
    try {
      await what();
    } catch (error) {
      setProblem(error);
    }
    setBusy("");
    changed();
  }
  const post = (path, model) => act(model, () => request(path, { method: "POST", body: { model } }));
  const drop = (model) => {
    if (confirm(`Delete ${model} from this machine?`)) act(model, () => request("/api/delete", { method: "DELETE", body: { model } }));
  };

  return html`
    <section aria-labelledby="models-title">
      <h2 id="models-title">Models</h2>
      ${problem && html`<p class="error" role="alert">${problem.message}${problem.hint && html`<br />Hint: ${problem.hint}`}</p>`}
      <div class="scroll">
        <table>
          <thead><tr><th scope="col">Model</th><th scope="col">State</th><th scope="col">Memory</th><th scope="col">Context</th><th scope="col">Actions</th></tr></thead>
          <tbody>
            ${models?.map((model) => {
              const row = rows[model.id];
              const loaded = !["unloaded", "failed"].includes(model.status.value);
              return html`
                <tr key=${model.id}>
                  <th scope="row"><bdi>${model.id}</bdi></th>
                  <td>${busy === model.id && !row?.load_progress ? "…" : model.status.value}<${Loading} share=${row?.load_progress ?? null} />${row?.error && html`<br /><small class="error">${row.error}</small>`}</td>
                  <td>${row?.memory && loaded ? memory(row.memory) : "–"}</td>
                  <td>${model.meta?.n_ctx ?? "–"}</td>
                  <td><div class="row">
                    ${loaded
                      ? html`<button type="button" class="quiet" disabled=${busy !== ""} onClick=${() => post("/models/unload", model.id)}>Unload</button>`
                      : html`<button type="button" class="quiet" disabled=${busy !== ""} onClick=${() => post("/models/load", model.id)}>Load</button>`}
                    ${!row?.default && html`<button type="button" class="quiet" disabled=${busy !== ""} onClick=${() => drop(model.id)}>Delete</button>`}
                  </div></td>
                </tr>`;
            })}
          </tbody>
        </table>
      </div>
      <${Downloads} changed=${changed} />
    </section>
  `;
}

/** How much of a model has been read, while that is known. */
function Loading({ share }) {
  if (share === null) return null;
  return html` ${percent(share)}<progress aria-label="Loading" max="1" value=${share}></progress>`;
}
