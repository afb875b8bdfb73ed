// The nodes of a fleet, and the other boards that the settings name.

import { html } from "./html.js";
import { duration, rate } from "./words.js";

export function Peers({ peers }) {
  if (!peers.length) return null;
  return html`
    <section>
      <h2 id="peers-title">${peers.some((peer) => peer.node) ? "Nodes" : "Other boards"}</h2>
      <div class="scroll" tabindex="0" role="region" aria-labelledby="peers-title">
        <table>
          <thead><tr>
            <th scope="col">Board</th><th scope="col">State</th><th scope="col">Model</th><th scope="col">Requests</th>
            <th scope="col">Tokens/s</th><th scope="col">Running for</th>
          </tr></thead>
          <tbody>${peers.map((peer) => html`<${Row} key=${peer.node ?? peer.url} peer=${peer} />`)}</tbody>
        </table>
      </div>
    </section>
  `;
}

function Row({ peer }) {
  const answers = peer.condition === "answers";
  return html`
    <tr>
      <th scope="row">${peer.node ? html`<bdi>${peer.node}</bdi>` : html`<a href=${`${peer.url}/#machine`} target="_blank" rel="noopener noreferrer">${peer.url.replace(/^http:\/\//, "")}</a>`}</th>
      <td>${answers ? peer.state : peer.condition}${peer.problem && html`<br /><small class="error">${peer.problem}</small>`}</td>
      <td><bdi>${peer.model ?? "–"}</bdi></td>
      <td>${answers ? `${peer.running} running, ${peer.waiting} waiting` : "–"}</td>
      <td>${peer.tokens_per_second === null ? "–" : rate(peer.tokens_per_second)}</td>
      <td>${peer.uptime === null ? "–" : duration(peer.uptime)}</td>
    </tr>
  `;
}
