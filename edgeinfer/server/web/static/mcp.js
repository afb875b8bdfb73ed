// Tools of MCP servers: the daemon calls them, each time after the user has agreed here.

import { getJson, request } from "./api.js";
import { html, useEffect, useRef, useState } from "./html.js";

/** Messages without a question of the user's after which even an allowed tool is asked about. */
export const MAX_AUTOMATIC = 24;

const REFUSED = "the user does not want this call";

/** Tools that the user has allowed for as long as this tab shows the page. */
const allowed = new Set();

/** The servers that the administrator has named; none if this key may not use them. */
export const listServers = () => getJson("/mcp/tools").then(({ servers }) => servers, () => []);

export const toolsOf = (servers) => servers.flatMap((server) => server.tools);

async function callTool({ name, arguments: text }, signal) {
  try {
    const body = { name, arguments: JSON.parse(text || "{}") };
    const result = await (await request("/mcp/call", { method: "POST", body, signal })).json();
    return (result.is_error ? "error: " : "") + result.text;
  } catch (error) {
    return error.name === "AbortError" ? "error: the user has stopped the call" : `error: ${error.message}`;
  }
}

/**
 * Asks about calls one after the other, and sends their results once there are all.
 *
 * @param automatic tools that are allowed are called without a question
 */
export function McpCalls({ calls, automatic, send }) {
  const [results, setResults] = useState([]);
  const abort = useRef(null);
  const [running, setRunning] = useState(false);
  const call = calls[results.length];

  async function run() {
    abort.current = new AbortController();
    setRunning(true);
    const text = await callTool(call, abort.current.signal);
    setRunning(false);
    setResults([...results, text]);
  }
  const always = () => (allowed.add(call.name), run());

  useEffect(() => {
    if (!call) send(results);
    else if (automatic && allowed.has(call.name)) run();
  }, [results.length]);
  useEffect(() => () => abort.current?.abort(), []);

  if (!call) return null;
  if (running) {
    return html`
      <p class="pause" role="status">Calling <code>${call.name}</code> … <button type="button" class="quiet" onClick=${() => abort.current.abort()}>Stop the call</button></p>
    `;
  }
  return html`
    <div class="results" role="group" aria-label="Question">
      <p>Call <code>${call.name}</code> with the arguments above?${calls.length > 1 && ` (${results.length + 1} of ${calls.length})`}</p>
      <div class="row">
        <button type="button" onClick=${run}>Call</button>
        <button type="button" class="quiet" onClick=${always}>Always call this tool</button>
        <button type="button" class="quiet" onClick=${() => setResults([...results, REFUSED])}>Refuse</button>
      </div>
    </div>
  `;
}

/** The servers in the settings of a conversation, and whether it uses their tools. */
export function ServerList({ servers, use, set }) {
  const words = (server) => server.problem ?? `${server.name}: ${server.tools.map((tool) => tool.function.name).join(", ") || "no tools"}`;
  return html`
    <div class="wide">
      <label class="check"><input type="checkbox" checked=${use} onChange=${(event) => set(event.target.checked)} /> Tools of MCP servers</label>
      <ul>
        ${servers.map((server) => html`<li key=${server.name}>${words(server)}${server.left_out.map((line) => html`<br />${line}`)}</li>`)}
      </ul>
    </div>
  `;
}
