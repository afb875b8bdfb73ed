// The ends of engines, with their causes.

import { html } from "./html.js";
import { moment } from "./words.js";

/** @param models the rows of /status */
export function Exits({ models }) {
  const exits = models.flatMap((row) => row.exits.map((exit) => ({ ...exit, model: row.name }))).sort((a, b) => b.at - a.at);
  if (!exits.length) return null;
  return html`
    <section>
      <h2 id="exits-title">Restarts of engines</h2>
      <div class="scroll" tabindex="0" role="region" aria-labelledby="exits-title">
        <table>
          <thead><tr><th scope="col">Time</th><th scope="col">Model</th><th scope="col">Cause</th></tr></thead>
          <tbody>
            ${exits.map((exit) => html`
              <tr key=${`${exit.at} ${exit.model}`}>
                <td>${moment(exit.at)}</td>
                <td><bdi>${exit.model}</bdi></td>
                <td><bdi>${exit.cause}</bdi>${!exit.was_ready && " (while it was being loaded)"}</td>
              </tr>`)}
          </tbody>
        </table>
      </div>
    </section>
  `;
}
