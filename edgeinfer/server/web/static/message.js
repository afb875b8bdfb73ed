// Shows one message of a conversation.

import { pauseText } from "./answer.js";
import { CopyButton } from "./clipboard.js";
import { html, useEffect, useLayoutEffect, useModule, useRef, useState } from "./html.js";
import { indented } from "./json.js";
import { McpCalls } from "./mcp.js";

const who = (node) => ({ user: "You", assistant: node.model ?? "Model", tool: node.tool ? `Result of ${node.tool}` : "Result of a tool" })[node.role];

/**
 * @param node the message
 * @param version changes whenever the message has
 * @param place {index, count} among the alternatives to this message
 * @param actions {edit, regenerate, step, answerCalls}; those that are missing are not offered. `isMcp`: the calls are of
 *   MCP servers; `automatic`: those that the user has allowed for good need no question
 */
export function Message({ node, version, place, actions }) {
  const [editing, setEditing] = useState(false);
  if (editing) return html`<${Editor} node=${node} done=${(text) => (setEditing(false), text === null || actions.edit(text))} />`;
  return html`
    <article class="message ${node.role}" aria-label=${who(node)}>
      <header>
        <h2><bdi>${who(node)}</bdi></h2>
        ${place.count > 1 && actions.step && html`<${Branches} place=${place} step=${actions.step} />`}
      </header>
      ${node.reasoning && html`<${Thoughts} node=${node} version=${version} />`}
      ${node.role === "assistant"
        ? html`<${Markdown} text=${node.content} complete=${!node.growing} version=${version} />`
        : html`<div class="text" dir="auto">${node.role === "tool" ? indented(node.content) : node.content}</div>`}
      ${node.calls?.map((call, index) => html`<${Call} key=${call.id || index} call=${call} />`)}
      ${actions.answerCalls && !actions.isMcp && html`<${CallResults} calls=${node.calls} send=${actions.answerCalls} />`}
      ${actions.answerCalls && actions.isMcp && html`<${McpCalls} calls=${node.calls} automatic=${actions.automatic} send=${actions.answerCalls} />`}
      <${State} node=${node} />
      <footer>
        ${node.content && html`<${CopyButton} text=${() => node.content} />`}
        ${actions.edit && html`<button type="button" class="quiet" onClick=${() => setEditing(true)}>Edit</button>`}
        ${actions.regenerate && html`<button type="button" class="quiet" onClick=${actions.regenerate}>Answer again</button>`}
        <${Figures} node=${node} />
      </footer>
    </article>
  `;
}

function Editor({ node, done }) {
  const [text, setText] = useState(node.content);
  const field = useRef(null);
  useEffect(() => field.current.focus(), []);
  return html`
    <form class="message editor" onSubmit=${(event) => (event.preventDefault(), done(text))}>
      <label>Your message <textarea ref=${field} rows="4" value=${text} onInput=${(event) => setText(event.target.value)}></textarea></label>
      <div class="row">
        <button type="submit" disabled=${!text.trim()}>Send</button>
        <button type="button" class="quiet" onClick=${() => done(null)}>Cancel</button>
      </div>
    </form>
  `;
}

function Branches({ place, step }) {
  return html`
    <span class="branches">
      <button type="button" class="quiet" aria-label="Previous version" disabled=${place.index === 0} onClick=${() => step(-1)}>‹</button>
      ${place.index + 1} of ${place.count}
      <button type="button" class="quiet" aria-label="Next version" disabled=${place.index === place.count - 1} onClick=${() => step(1)}>›</button>
    </span>
  `;
}

/** The page's first view needs no Markdown, so its library comes later. */
export const loadMarkdown = () => import("./markdown.js");

function Markdown({ text, complete, version }) {
  const element = useRef(null);
  const renderer = useRef(null);
  const { module: markdown, problem } = useModule(loadMarkdown);
  useLayoutEffect(() => {
    if (!markdown) return;
    renderer.current ??= new markdown.StreamingMarkdown(element.current);
    renderer.current.update(text, complete);
  }, [markdown, text, complete, version]);
  if (problem) return html`<div class="text" dir="auto">${text}</div>`;
  return html`<div class="markdown" ref=${element}></div>`;
}

function Thoughts({ node, version }) {
  const active = node.growing && !node.content && !node.calls?.length;
  const seconds = node.thought ?? 0;
  return html`
    <details class="thoughts">
      <summary>${active ? `Thinking … ${seconds.toFixed(0)} s` : `Thought for ${seconds.toFixed(1)} s`}</summary>
      <${Markdown} text=${node.reasoning} complete=${!active} version=${version} />
    </details>
  `;
}

function Call({ call }) {
  return html`
    <section class="call" aria-label=${`Call of ${call.name}`}>
      <h3>Call of <code>${call.name}</code></h3>
      <pre tabindex="0" role="region" aria-label="Arguments">${indented(call.arguments)}</pre>
    </section>
  `;
}

/** Lets the user play the tools. */
function CallResults({ calls, send }) {
  const [results, setResults] = useState(() => calls.map(() => ""));
  const set = (index, text) => setResults(results.map((old, n) => (n === index ? text : old)));
  return html`
    <form class="results" onSubmit=${(event) => (event.preventDefault(), send(results))}>
      ${calls.map((call, index) => html`
        <label key=${index}>Result of ${call.name}
          <textarea rows="2" value=${results[index]} onInput=${(event) => set(index, event.target.value)}></textarea>
        </label>`)}
      <button type="submit">Send ${calls.length > 1 ? "results" : "result"}</button>
    </form>
  `;
}

function State({ node }) {
  if (node.error) {
    return html`<p class="error" role="alert">${node.error.message}${node.error.hint && html`<br />Hint: ${node.error.hint}`}</p>`;
  }
  if (node.pause) return html`<p class="pause" role="status">${pauseText(node.pause)}</p>`;
  if (node.growing && !node.content && !node.reasoning) return html`<p class="pause" role="status">…</p>`;
  if (node.finish === "length") return html`<p class="note">The answer was cut: it has as many tokens as allowed, or the context is full.</p>`;
  if (node.finish === "stopped") return html`<p class="note">Stopped.</p>`;
  return null;
}

function Figures({ node }) {
  const usage = node.usage;
  if (!usage) return null;
  const parts = [`${usage.completion_tokens} tokens`];
  if (usage.predicted_per_second) parts.push(`${usage.predicted_per_second.toFixed(1)} tokens/s`);
  if (node.first !== undefined) parts.push(`first after ${node.first.toFixed(2)} s`);
  const cached = usage.prompt_tokens_details?.cached_tokens ?? 0;
  parts.push(`prompt ${usage.prompt_tokens} tokens${cached ? `, ${cached} from the cache` : ""}`);
  return html`<span class="figures">${parts.join(" · ")}</span>`;
}
