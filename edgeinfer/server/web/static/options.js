// The settings of a conversation: model, system prompt, sampling, thinking, tools, schema.

import { html, useEffect, useState } from "./html.js";
import { INTERVAL } from "./live.js";
import { ServerList } from "./mcp.js";
import { percent } from "./words.js";

const SAMPLING = [
  ["temperature", "Temperature", { min: 0, max: 2, step: 0.1 }],
  ["top_p", "top_p", { min: 0, max: 1, step: 0.05 }],
  ["top_k", "top_k", { min: 0, step: 1 }],
  ["max_tokens", "Maximum tokens", { min: 1, step: 1 }],
  ["seed", "Seed", { min: 0, step: 1 }],
];

const EFFORTS = [["", "as the model likes"], ["off", "none"], ["low", "little"], ["medium", "some"], ["high", "much"]];

const TOOL = `[{"type": "function", "function": {"name": "get_weather", "description": "The weather in a city",
  "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}}]`;

const SCHEMA = `{"type": "object", "properties": {"answer": {"type": "string"}}, "required": ["answer"]}`;

/** A model's state, and how far its load has come. */
const stateOf = ({ status }) => status.value + (status.loaded === undefined ? "" : ` ${percent(status.loaded)}`);

export function Options({ conversation, models, servers, readModels, changed }) {
  const [isOpen, setOpen] = useState(false);
  useEffect(() => {
    if (!isOpen) return;
    readModels();
    const timer = setInterval(() => document.hidden || readModels(), INTERVAL);
    return () => clearInterval(timer);
  }, [isOpen]);
  const { settings } = conversation;
  const set = (name, value) => ((settings[name] = value), changed());
  const sampling = settings.sampling ?? {};
  const model = models?.find((one) => one.id === settings.model) ?? models?.[0];
  return html`
    <details class="options" onToggle=${(event) => setOpen(event.target.open)}>
      <summary>Settings of this conversation${model && html`: <bdi>${model.id}</bdi>`}</summary>
      <div class="fields">
        <label>Model
          <select value=${settings.model ?? ""} onChange=${(event) => set("model", event.target.value)}>
            <option value="">default</option>
            ${models?.map((one) => html`<option key=${one.id} value=${one.id}>${one.id} (${stateOf(one)})</option>`)}
          </select>
        </label>
        <label>Thinking
          <select value=${settings.thinking ?? ""} onChange=${(event) => set("thinking", event.target.value)}>
            ${EFFORTS.map(([value, label]) => html`<option key=${value} value=${value}>${label}</option>`)}
          </select>
        </label>
        ${SAMPLING.map(([name, label, limits]) => html`
          <label key=${name}>${label}
            <input type="number" ...${limits} value=${sampling[name] ?? ""} placeholder=${model?.meta?.sampling?.[name] ?? "default"}
              onChange=${(event) => set("sampling", { ...sampling, [name]: event.target.value })} />
          </label>`)}
        <label class="wide">System prompt
          <textarea rows="3" value=${settings.system ?? ""} onChange=${(event) => set("system", event.target.value)}></textarea>
        </label>
        ${servers.length > 0 && html`<${ServerList} servers=${servers} use=${settings.mcp !== false} set=${(use) => set("mcp", use)} />`}
        <${Json} label="Tools" example=${TOOL} value=${settings.tools} set=${(text) => set("tools", text)} />
        <${Json} label="Schema of the answer" example=${SCHEMA} value=${settings.schema} set=${(text) => set("schema", text)} />
      </div>
    </details>
  `;
}

function Json({ label, example, value, set }) {
  const [problem, setProblem] = useState("");
  const change = (text) => {
    let words = "";
    try {
      if (text.trim()) JSON.parse(text);
    } catch (error) {
      words = `This is not JSON yet: ${error.message}`;
    }
    setProblem(words);
    set(text);
  };
  return html`
    <div class="wide">
      <label>${label}, as JSON
        <textarea rows="3" spellcheck="false" class="mono" value=${value ?? ""} onChange=${(event) => change(event.target.value)}></textarea>
      </label>
      ${!value?.trim() && html`<button type="button" class="quiet" onClick=${() => change(example)}>Put in an example</button>`}
      ${problem && html`<p class="error" role="alert">${problem}</p>`}
    </div>
  `;
}
