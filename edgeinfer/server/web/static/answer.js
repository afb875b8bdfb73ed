// One answer: the request, and the message that grows while the answer arrives.

import { ApiError, events, getJson, request } from "./api.js";
import { branch } from "./conversations.js";
import { percent } from "./words.js";

/** Seconds without a token after which the page asks the daemon what it is doing. */
const QUIET = 1.5;

/**
 * The fields of a request for the next message of a conversation. Throws Error if a setting is not valid.
 *
 * @param mcpTools tools of MCP servers, which are offered beside those in the settings
 */
export function chatRequest(conversation, parent, mcpTools) {
  const { settings } = conversation;
  const body = { messages: [], stream: true, stream_options: { include_usage: true } };
  if (settings.model) body.model = settings.model;
  if (settings.system?.trim()) body.messages.push({ role: "system", content: settings.system });
  for (const node of branch(conversation, parent)) if (!node.error || node.content) body.messages.push(sent(node));
  for (const [field, value] of Object.entries(settings.sampling ?? {})) {
    if (value !== "" && value !== null) body[field] = Number(value);
  }
  if (settings.thinking === "off") body.reasoning_effort = "none";
  else if (settings.thinking) body.reasoning_effort = settings.thinking;
  const tools = [...(parsed(settings.tools, "The tools") ?? []), ...mcpTools];
  if (tools.length) body.tools = tools;
  const schema = parsed(settings.schema, "The schema");
  if (schema) body.response_format = { type: "json_schema", json_schema: { name: "answer", schema } };
  return body;
}

function parsed(text, what) {
  if (!text?.trim()) return null;
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Error(`${what} in the settings are not JSON: ${error.message}`);
  }
}

function sent(node) {
  if (node.role === "tool") return { role: "tool", tool_call_id: node.call, content: node.content };
  if (node.role === "user" || !node.calls?.length) return { role: node.role, content: node.content };
  const calls = node.calls.map((call) => ({ id: call.id, type: "function", function: { name: call.name, arguments: call.arguments } }));
  return { role: "assistant", content: node.content || null, tool_calls: calls };
}

/** Generate into `node`; `changed` is called whenever it has grown. Ends without throwing: errors are in the message. */
export async function generate(node, body, { signal, changed, session }) {
  const started = performance.now();
  let thinkingFrom = null;
  let lastSign = started;
  const watcher = setInterval(() => watch(node, body.model, lastSign, changed), 500);
  try {
    const response = await request("/v1/chat/completions", { method: "POST", body, signal, headers: { "x-session-id": session } });
    for await (const chunk of events(response)) {
      lastSign = performance.now();
      node.pause = null;
      if (chunk.usage) node.usage = { ...chunk.usage, ...chunk.timings };
      node.model = chunk.model;
      const choice = chunk.choices?.[0];
      if (choice?.finish_reason) node.finish = choice.finish_reason;
      if (choice?.delta) grow(node, choice.delta);
      if (node.reasoning && thinkingFrom === null) thinkingFrom = performance.now();
      if (thinkingFrom !== null && !node.content && !node.calls?.length) node.thought = (performance.now() - thinkingFrom) / 1000;
      node.first ??= (performance.now() - started) / 1000;
      changed();
    }
    if (!node.finish) throw new ApiError("The connection ended before the answer did.");
  } catch (error) {
    if (error.name === "AbortError") node.finish = "stopped";
    else node.error = { message: error.message, hint: error.hint ?? "", status: error.status ?? 0 };
  } finally {
    clearInterval(watcher);
    node.pause = null;
    node.growing = false;
    changed();
  }
}

function grow(node, delta) {
  if (delta.reasoning_content) node.reasoning = (node.reasoning ?? "") + delta.reasoning_content;
  if (delta.content) node.content += delta.content;
  for (const call of delta.tool_calls ?? []) {
    node.calls ??= [];
    const known = (node.calls[call.index] ??= { id: "", name: "", arguments: "" });
    if (call.id) known.id = call.id;
    known.name += call.function?.name ?? "";
    known.arguments += call.function?.arguments ?? "";
  }
}

/** Say what the daemon is doing while no token comes: it may load, wait, read a long prompt or have lost its engine. */
async function watch(node, model, lastSign, changed) {
  const seconds = (performance.now() - lastSign) / 1000;
  if (seconds < QUIET) return;
  node.pause = { seconds, ...(await stateOf(model)) };
  if (node.growing) changed();
}

/** The state of a model, or of the default one, and how much of it has been read while it is being loaded. */
async function stateOf(model) {
  try {
    const status = await getJson("/status");
    const row = status.models.find((row) => (model ? row.name === model : row.default));
    return { state: row?.state ?? status.state, loaded: row?.load_progress ?? null };
  } catch {
    return { state: "unreachable", loaded: null };
  }
}

const PAUSES = {
  ready: "waiting for its turn, or reading the prompt",
  unloaded: "the model is being loaded",
  starting: "the engine is starting; the answer goes on when it is ready",
  loading: "the model is being loaded",
  restarting: "the engine is restarting; the answer goes on from here",
  stopping: "the daemon is stopping",
  unreachable: "the daemon does not answer",
};

export function pauseText({ state, seconds, loaded }) {
  const progress = loaded === null ? "" : ` (${percent(loaded)})`;
  return `Pause of ${Math.round(seconds)} s: ${PAUSES[state] ?? `the engine is ${state}`}${progress}.`;
}
