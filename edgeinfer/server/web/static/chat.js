// The chat: one conversation, and the field for the next message.

import { chatRequest, generate } from "./answer.js";
import { addMessage, branch, save, show, siblings } from "./conversations.js";
import { html, useEffect, useReducer, useRef, useState } from "./html.js";
import { MAX_AUTOMATIC, listServers, toolsOf } from "./mcp.js";
import { Message, loadMarkdown } from "./message.js";
import { Options } from "./options.js";

/** How near to its end, in pixels, a page follows an answer. */
const NEAR = 120;

/**
 * @param conversation the one that is shown; it is changed and kept
 * @param models those of the daemon
 * @param changed called when the list of conversations should be read again
 * @param readModels called when the models should be read again
 */
export function Chat({ conversation, models, changed, readModels }) {
  const [version, redraw] = useReducer((n) => n + 1, 0);
  const [problem, setProblem] = useState("");
  const [servers, setServers] = useState([]);
  const fresh = useRef(new Set());
  const abort = useRef(null);
  const list = useRef(null);
  const follows = useRef(true);

  useEffect(() => void loadMarkdown(), []);
  useEffect(() => void listServers().then(setServers), []);
  useEffect(() => () => abort.current?.abort(), [conversation]);
  useEffect(() => {
    if (follows.current) list.current.scrollTop = list.current.scrollHeight;
  });
  const scrolled = ({ currentTarget: { scrollHeight, scrollTop, clientHeight } }) => {
    follows.current = scrollHeight - scrollTop - clientHeight < NEAR;
  };

  const mcpTools = conversation.settings.mcp === false ? [] : toolsOf(servers);
  const keep = () => save(conversation).then(changed, () => setProblem("This browser does not keep conversations; export what you need."));

  async function answer(parent) {
    let body;
    try {
      body = chatRequest(conversation, parent, mcpTools);
    } catch (error) {
      return setProblem(error.message);
    }
    setProblem("");
    const node = addMessage(conversation, parent, { role: "assistant", content: "", growing: true });
    fresh.current.add(node.id);
    abort.current = new AbortController();
    follows.current = true;
    keep();
    let scheduled = false;
    const draw = () => {
      if (scheduled) return;
      scheduled = true;
      requestAnimationFrame(() => ((scheduled = false), redraw()));
    };
    await generate(node, body, { signal: abort.current.signal, changed: draw, session: conversation.id });
    abort.current = null;
    redraw();
    keep();
    readModels();
  }

  const say = (text, parent = conversation.leaf) => answer(addMessage(conversation, parent, { role: "user", content: text }).id);

  function answerCalls(node, results) {
    let parent = node.id;
    for (const [index, call] of node.calls.entries()) {
      parent = addMessage(conversation, parent, { role: "tool", call: call.id, tool: call.name, content: results[index] }).id;
    }
    answer(parent);
  }

  /** How many answers there are since the last question. */
  function answersInARow(node) {
    const before = branch(conversation, node.id);
    return before.length - before.findLastIndex((one) => one.role === "user") - 1;
  }

  function actionsOf(node, busy) {
    if (busy) return {};
    const step = (by) => {
      const others = siblings(conversation, node);
      show(conversation, others[others.indexOf(node) + by]);
      redraw();
      keep();
    };
    if (node.role === "user") return { step, edit: (text) => say(text, node.parent) };
    if (node.role !== "assistant") return {};
    const waits = node.id === conversation.leaf && node.calls?.length;
    const isMcp = waits && node.calls.every((call) => mcpTools.some((tool) => tool.function.name === call.name));
    return {
      step,
      regenerate: () => answer(node.parent),
      answerCalls: waits && ((results) => answerCalls(node, results)),
      isMcp,
      automatic: isMcp && fresh.current.has(node.id) && answersInARow(node) <= MAX_AUTOMATIC,
    };
  }

  const messages = branch(conversation);
  const busy = abort.current !== null;
  return html`
    <section class="chat" aria-label="Chat">
      <div class="messages" ref=${list} onScroll=${scrolled} tabindex="0" role="log" aria-label="Messages" aria-busy=${busy}>
        ${!messages.length && html`<${Welcome} models=${models} />`}
        ${messages.map((node) => {
          const others = siblings(conversation, node);
          const place = { index: others.indexOf(node), count: others.length };
          return html`<${Message} key=${node.id} node=${node} version=${node.growing ? version : 0} place=${place} actions=${actionsOf(node, busy)} />`;
        })}
      </div>
      ${problem && html`<p class="error" role="alert">${problem}</p>`}
      <${Composer} key=${conversation.id} busy=${busy} send=${(text) => say(text)} stop=${() => abort.current?.abort()} />
      <${Options} servers=${servers} conversation=${conversation} models=${models} readModels=${readModels} changed=${() => (redraw(), keep())} />
    </section>
  `;
}

function Welcome({ models }) {
  const model = models?.[0];
  return html`
    <div class="welcome">
      <h2>What can I do for you?</h2>
      <p>${model ? html`<bdi>${model.id}</bdi> answers on this machine. Nothing leaves it, and conversations are kept in this browser only.` : "…"}</p>
    </div>
  `;
}

function Composer({ busy, send, stop }) {
  const [text, setText] = useState("");
  const field = useRef(null);
  useEffect(() => field.current.focus(), []);
  const submit = (event) => {
    event.preventDefault();
    if (busy || !text.trim()) return;
    setText("");
    send(text);
  };
  const pressed = (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) submit(event);
    if (event.key === "Escape" && busy) stop();
  };
  return html`
    <form class="composer" onSubmit=${submit}>
      <label class="hidden" for="message">Your message</label>
      <textarea id="message" ref=${field} rows="3" placeholder="Enter sends, Shift+Enter begins a line" value=${text}
        onInput=${(event) => setText(event.target.value)} onKeyDown=${pressed}></textarea>
      ${busy
        ? html`<button type="button" class="stop" onClick=${stop}>Stop</button>`
        : html`<button type="submit" disabled=${!text.trim()}>Send</button>`}
    </form>
  `;
}
