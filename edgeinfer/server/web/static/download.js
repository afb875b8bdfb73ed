// Downloads models. The daemon goes on with a download when the page is left, and the page finds it again.

import { getJson, objects, request } from "./api.js";
import { html, useEffect, useReducer, useState } from "./html.js";
import { duration, percent, size } from "./words.js";

/** Seconds over which the speed of a download is measured. */
const MEASURED = 10;

/** One download, as far as it has come. */
class Progress {
  constructor(name) {
    this.name = name;
    this.steps = [];
  }

  add(step, now = performance.now() / 1000) {
    const last = this.last;
    if (last && (step.total !== last.total || step.status !== last.status)) this.steps = [];
    this.steps.push({ step, now });
    while (this.steps.length > 2 && this.steps[1].now < now - MEASURED) this.steps.shift();
  }

  get last() {
    return this.steps.at(-1)?.step;
  }

  /** "12 MB of 400 MB (3 %), 3 MB/s, 2 min left", as far as it is known. */
  get words() {
    if (!this.last) return "starting";
    const [first, last] = [this.steps[0], this.steps.at(-1)];
    const { status, total, completed = 0 } = last.step;
    if (!total) return status;
    const speed = (completed - (first.step.completed ?? 0)) / (last.now - first.now);
    const pace = speed > 0 ? `, ${size(speed)}/s, ${duration((total - completed) / speed)} left` : "";
    return `${status} · ${size(completed)} of ${size(total)} (${percent(completed / total)})${pace}`;
  }
}

const running = new Map();

/** Follow a download to its end; `changed` is called at each step. Throws ApiError. */
async function follow(name, changed) {
  if (running.has(name)) return;
  const progress = new Progress(name);
  running.set(name, progress);
  changed();
  try {
    const response = await request("/api/pull", { method: "POST", body: { model: name } });
    for await (const step of objects(response)) {
      progress.add(step);
      changed();
    }
  } catch (error) {
    if (running.has(name)) throw error; // else it has been cancelled
  } finally {
    running.delete(name);
    changed();
  }
}

/** @param changed called when there may be another model */
export function Downloads({ changed }) {
  const [, redraw] = useReducer((n) => n + 1, 0);
  const [name, setName] = useState("");
  const [problem, setProblem] = useState(null);
  const followed = (wanted) => follow(wanted, redraw).then(changed, setProblem);

  useEffect(() => {
    getJson("/models").then(({ data }) => data.filter((one) => one.status.value === "downloading").forEach((one) => followed(one.id)), () => {});
    const timer = setInterval(redraw, 1000); // for those that another visit of this view follows
    return () => clearInterval(timer);
  }, []);

  async function start(event) {
    event.preventDefault();
    const wanted = name.trim();
    setProblem(null);
    try {
      await request("/models", { method: "POST", body: { model: wanted } });
      setName("");
      followed(wanted);
    } catch (error) {
      setProblem(error);
    }
  }

  function cancel(wanted) {
    running.delete(wanted);
    request("/models/unload", { method: "POST", body: { model: wanted } }).catch(setProblem);
    redraw();
  }

  return html`
    <form class="row" onSubmit=${start}>
      <label>Download a model <input value=${name} placeholder="qwen3-0.6b" onInput=${(event) => setName(event.target.value)} /></label>
      <button type="submit" disabled=${!name.trim()}>Download</button>
    </form>
    ${[...running.values()].map((progress) => html`<${Running} key=${progress.name} progress=${progress} cancel=${() => cancel(progress.name)} />`)}
    ${problem && html`<p class="error" role="alert">${problem.message}${problem.hint && html`<br />Hint: ${problem.hint}`}</p>`}
  `;
}

function Running({ progress, cancel }) {
  const { total, completed = 0 } = progress.last ?? {};
  return html`
    <div class="download">
      <p role="status"><bdi>${progress.name}</bdi>: ${progress.words}</p>
      ${total && html`<progress aria-label=${`Download of ${progress.name}`} max=${total} value=${completed}></progress>`}
      <button type="button" class="quiet" aria-label=${`Cancel the download of ${progress.name}`} onClick=${cancel}>Cancel</button>
    </div>
  `;
}
