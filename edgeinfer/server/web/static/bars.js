// Figures with bars beside them.

import { html } from "./html.js";

/** @param rows [{label, value, words}]; bars are as long as the largest value allows */
export function Bars({ title, rows }) {
  const most = Math.max(...rows.map((row) => row.value));
  return html`
    <table class="bars">
      <caption>${title}</caption>
      <tbody>
        ${rows.map(({ label, value, words }) => html`
          <tr key=${label}>
            <th scope="row"><bdi>${label}</bdi></th>
            <td class="bar"><svg viewBox="0 0 100 1" preserveAspectRatio="none" aria-hidden="true"><rect width=${most > 0 ? (100 * value) / most : 0} height="1" /></svg></td>
            <td>${words}</td>
          </tr>`)}
      </tbody>
    </table>
  `;
}
