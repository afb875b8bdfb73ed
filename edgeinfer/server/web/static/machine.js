// This machine: what the daemon does, the plan with its reasons, the models.

import { html, useEffect, useReducer } from "./html.js";
import { INTERVAL } from "./live.js";
import { Models } from "./models.js";
import { Plot } from "./plot.js";
import { duration, size } from "./words.js";

export function Machine({ live, models, changed }) {
  const [, redraw] = useReducer((n) => n + 1, 0);
  useEffect(() => {
    let stopped = false;
    const poll = async () => {
      if (!document.hidden) await live.poll();
      redraw();
      if (!stopped) timer = setTimeout(poll, INTERVAL);
    };
    let timer = setTimeout(poll, 0);
    return () => ((stopped = true), clearTimeout(timer));
  }, []);

  const { status } = live;
  if (!status) return html`<section class="machine"><p role="status">${live.error ? live.error.message : "…"}</p></section>`;
  const rows = Object.fromEntries(status.models.map((row) => [row.name, row]));
  return html`
    <section class="machine">
      ${live.error && html`<p class="error" role="alert">${live.error.message}</p>`}
      <${Summary} status=${status} />
      <div class="plots">
        <${Plot} title="Tokens" unit="per second" data=${live.series(["generated", "read"])} labels=${["generated", "read"]} />
        <${Plot} title="Requests" unit="" data=${live.series(["running", "waiting"])} labels=${["running", "waiting"]} />
        <${Plot} title="KV cache" unit="% in use" data=${live.series(["cells"])} labels=${["used"]} />
      </div>
      <${Models} models=${models} rows=${rows} changed=${changed} />
      <${PlanOf} plan=${status.plan} />
    </section>
  `;
}

function Summary({ status }) {
  const model = status.model;
  const facts = [
    ["State", status.state + (status.reason ? `: ${status.reason}` : "")],
    ["Running for", duration(status.uptime)],
    ["Engine restarts", `${status.restarts}, ${status.resumed} answers resumed`],
    ["Last exit of an engine", status.last_exit ?? "none"],
    ["Confinement of the engine", status.confinement?.worker ?? "none"],
    ["edgeinfer", status.version],
  ];
  if (model) {
    facts.unshift(["Model", `${model.name}: ${model.description}, ${(model.n_params / 1e6).toFixed(0)} million parameters, ${size(model.size)}`]);
    facts.splice(1, 0, ["Context", `${model.ctx} tokens, ${model.parallel} answers at once`]);
  }
  return html`
    <section aria-labelledby="now-title">
      <h2 id="now-title">Now</h2>
      <dl>${facts.map(([name, value]) => html`<div key=${name}><dt>${name}</dt><dd><bdi>${String(value)}</bdi></dd></div>`)}</dl>
    </section>
  `;
}

function PlanOf({ plan }) {
  if (!plan?.reasons?.length) return null;
  return html`
    <section aria-labelledby="plan-title">
      <h2 id="plan-title">Why it is loaded this way</h2>
      <ul>${plan.reasons.map((reason) => html`<li key=${reason}>${reason}</li>`)}</ul>
    </section>
  `;
}
