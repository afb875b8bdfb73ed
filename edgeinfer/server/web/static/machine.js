// This machine: what the daemon does, the plan with its reasons, the models.

import { Exits } from "./exits.js";
import { html, useEffect, useReducer } from "./html.js";
import { INTERVAL } from "./live.js";
import { Measurements } from "./measurements.js";
import { Models } from "./models.js";
import { Peers } from "./peers.js";
import { Plot } from "./plot.js";
import { duration, memory as ram, percent, size } from "./words.js";

export function Machine({ live, models, changed }) {
  const [, redraw] = useReducer((n) => n + 1, 0);
  useEffect(() => {
    let stopped = false;
    let seen = "";
    const poll = async () => {
      if (!document.hidden) await live.poll();
      const now = states(live.status);
      if (now !== seen) changed();
      seen = now;
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
      <${Summary} status=${status} machine=${live.machine} />
      <${Memory} memory=${live.machine.memory} />
      <${Throttled} devices=${live.machine.throttled} />
      <div class="plots">
        <${Plot} title="Answers" unit="tokens/s" data=${live.series(["generated"])} labels=${["generated"]} />
        <${Plot} title="Prompts" unit="tokens/s" data=${live.series(["computed", "cached"])} labels=${["computed", "cached"]} />
        <${Plot} title="Requests" unit="" data=${live.series(["running", "waiting"])} labels=${["running", "waiting"]} />
        <${Plot} title="KV cache" unit="% in use" data=${live.series(["cells"])} labels=${["used"]} />
        ${live.machine.temperatures.length > 0 && html`<${Plot} title="Temperature" unit="°C" data=${live.series(["warmest"])} labels=${["highest"]} />`}
      </div>
      <${Models} models=${models} rows=${rows} changed=${changed} />
      <${Peers} peers=${live.peers ?? []} />
      <${Exits} models=${status.models} />
      <${Measurements} benchmarks=${live.machine.benchmarks} calibration=${live.machine.calibration} />
      <${Facts} title="This machine" facts=${live.machine.facts.map(({ name, text }) => [name, text])} />
      <${PlanOf} plan=${status.plan} />
    </section>
  `;
}

const states = (status) => JSON.stringify(status?.models.map((row) => [row.name, row.state]));

const counted = (number, noun) => `${number} ${noun}${number === 1 ? "" : "s"}`;

/** How many requests there are, and how many of their prompts' tokens did not have to be computed. */
function requests({ models }) {
  const sum = (value) => models.reduce((total, row) => total + value(row), 0);
  const [running, waiting] = [sum((row) => row.stats.running), sum((row) => row.stats.waiting)];
  const cached = sum((row) => row.stats.cached_tokens_total);
  const prompts = cached + sum((row) => row.stats.prompt_tokens_total);
  const callers = sum((row) => row.callers_waiting);
  return [
    ["Requests", `${running} running, ${waiting} waiting${callers ? ` (of ${counted(callers, "caller")})` : ""}`],
    ["Prompts so far", prompts ? `${counted(prompts, "token")}, ${percent(cached / prompts)} of them from the cache` : "none"],
    ["Generated so far", counted(sum((row) => row.stats.completion_tokens_total), "token")],
  ];
}

function Summary({ status, machine }) {
  const model = status.model;
  const facts = [
    ["State", status.state + (status.reason ? `: ${status.reason}` : "")],
    ["Running for", duration(status.uptime)],
    ...requests(status),
    ["Restarts of the engine", status.restarts ? `${status.restarts} (${counted(status.resumed, "answer")} resumed)` : "none"],
    ["Confinement of the engine", status.confinement?.worker ?? "none"],
    ["edgeinfer", status.version],
  ];
  if (machine.temperatures.length) {
    const warmest = Math.max(...machine.temperatures.map((zone) => zone.temperature));
    facts.push(["Temperature", `${warmest} °C${machine.throttled.length ? ", slowed down by heat" : ""}`]);
  }
  if (model) {
    facts.unshift(["Model", `${model.name}: ${model.description}, ${(model.n_params / 1e6).toFixed(0)} million parameters, ${size(model.size)}`]);
    facts.splice(1, 0, ["Context", `${model.ctx} tokens, ${model.parallel} answers at once`]);
  }
  return html`<${Facts} title="Now" facts=${facts} />`;
}

function Facts({ title, facts }) {
  const id = title.replace(/\W/g, "-");
  return html`
    <section aria-labelledby=${id}>
      <h2 id=${id}>${title}</h2>
      <dl>${facts.map(([name, value], index) => html`<div key=${index}><dt>${name}</dt><dd><bdi>${String(value)}</bdi></dd></div>`)}</dl>
    </section>
  `;
}

/** A bar: what the models hold, what everything else does, what is free. */
function Memory({ memory }) {
  if (!memory.total || memory.available === null) return null;
  const parts = [
    ["models", memory.models],
    ["daemon", memory.daemon],
    ["other programs", Math.max(0, memory.total - memory.available - memory.models - memory.daemon)],
    ["free", memory.available],
  ];
  const words = parts.map(([name, bytes]) => `${name} ${ram(bytes)}`).join(", ");
  return html`
    <figure class="memory">
      <figcaption>Memory of ${ram(memory.total)}: ${words}</figcaption>
      <svg viewBox="0 0 100 4" preserveAspectRatio="none" role="img" aria-label=${`Memory: ${words}`}>
        ${parts.map(([name, bytes], index) => {
          const before = parts.slice(0, index).reduce((sum, part) => sum + part[1], 0);
          return html`<rect key=${name} class=${`part-${index + 1}`} x=${(100 * before) / memory.total} y="0" width=${(100 * bytes) / memory.total} height="4" />`;
        })}
      </svg>
    </figure>
  `;
}

function Throttled({ devices }) {
  if (!devices.length) return null;
  const words = devices.map((device) => `${device.name}, step ${device.state} of ${device.max_state}`).join("; ");
  return html`<p class="error" role="status">The CPU is throttled because of heat (${words}). A heat sink or a fan helps.</p>`;
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
