// Downloads a model.

import { objects, request } from "./api.js";
import { html, useState } from "./html.js";
import { duration, percent, size } from "./words.js";

/** Seconds over which the speed of a download is measured. */
const MEASURED = 10;

/** A download's last steps, each with its time. */
class Steps {
  constructor() {
    this.steps = [];
  }

  add(step, now = performance.now() / 1000) {
    const last = this.steps.at(-1);
    if (last && (step.total !== last.step.total || step.status !== last.step.status)) this.steps = [];
    this.steps.push({ step, now });
    while (this.steps.length > 2 && this.steps[1].now < now - MEASURED) this.steps.shift();
  }

  /** "12 MB of 400 MB, 3 MB/s, 2 min left", as far as it is known. */
  get words() {
    const [first, last] = [this.steps[0], this.steps.at(-1)];
    const { status, total, completed = 0 } = last.step;
    if (!total) return status;
    const speed = (completed - (first.step.completed ?? 0)) / (last.now - first.now);
    const pace = speed > 0 ? `, ${size(speed)}/s, ${duration((total - completed) / speed)} left` : "";
    return `${status} · ${size(completed)} of ${size(total)} (${percent(completed / total)})${pace}`;
  }
}

export function Download({ changed }) {
  const [name, setName] = useState("");
  const [progress, setProgress] = useState(null);
  const [problem, setProblem] = useState(null);

  async function start(event) {
    event.preventDefault();
    setProblem(null);
    const steps = new Steps();
    const show = (step) => (steps.add(step), setProgress({ ...step, words: steps.words }));
    show({ status: "starting" });
    try {
      const response = await request("/api/pull", { method: "POST", body: { model: name.trim() } });
      for await (const step of objects(response)) show(step);
      setName("");
    } catch (error) {
      setProblem(error);
    }
    setProgress(null);
    changed();
  }

  return html`
    <form class="row" onSubmit=${start}>
      <label>Download a model <input value=${name} placeholder="qwen3-0.6b" onInput=${(event) => setName(event.target.value)} /></label>
      <button type="submit" disabled=${!name.trim() || progress !== null}>Download</button>
    </form>
    ${progress && html`
      <p role="status">${progress.words}
        ${progress.total && html`<progress aria-label="Download" max=${progress.total} value=${progress.completed ?? 0}></progress>`}
      </p>`}
    ${problem && html`<p class="error" role="alert">${problem.message}${problem.hint && html`<br />Hint: ${problem.hint}`}</p>`}
  `;
}
