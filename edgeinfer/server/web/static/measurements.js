// What `edgeinfer bench` has measured: models, and the machine itself.

import { Bars } from "./bars.js";
import { html } from "./html.js";
import { day, rate } from "./words.js";

export function Measurements({ benchmarks, calibration }) {
  return html`
    <section aria-labelledby="measurements-title">
      <h2 id="measurements-title">Measurements</h2>
      ${!benchmarks.length && !calibration && html`
        <p>Nothing has been measured yet. <code>edgeinfer bench</code> measures a model, <code>edgeinfer bench --calibrate</code> this machine.</p>`}
      <div class="measured">
        ${benchmarks.map((result) => html`<${Bars} key=${result.model} ...${ofModel(result)} />`)}
        ${calibration && machine(calibration).map((bars) => html`<${Bars} key=${bars.title} ...${bars} />`)}
      </div>
    </section>
  `;
}

function ofModel(result) {
  const rows = [
    { label: "Prompt", value: result.prompt_rate },
    { label: "One answer", value: result.answer_rate },
    { label: result.parallel > 1 ? `${result.parallel} answers at once` : "With its prompt", value: result.together_rate },
  ];
  if (result.predicted_rate) rows.splice(2, 0, { label: "One answer, predicted", value: result.predicted_rate });
  return { title: `${result.model}, ${day(result.measured)}`, rows: rows.map((row) => ({ ...row, words: `${rate(row.value)} tokens/s` })) };
}

function machine({ cpu, gpu, threads, measured }) {
  const when = day(measured);
  const bars = Object.entries({ CPU: cpu, GPU: gpu })
    .filter(([, rates]) => rates)
    .map(([name, rates]) => ({
      title: `${name}: weights read while one answer is generated, ${when}`,
      rows: Object.entries(rates.decode)
        .filter(([kind]) => kind)
        .map(([kind, value]) => ({ label: kind, value, words: `${(value / 1e9).toFixed(1)} GB/s` })),
    }));
  const counts = Object.entries(threads);
  if (counts.length) {
    const rows = counts.map(([count, value]) => ({ label: `${count} threads`, value, words: `${rate(value)} tokens/s` }));
    bars.push({ title: `Threads, ${when}`, rows });
  }
  return bars;
}
