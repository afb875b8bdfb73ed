// The API: every route with its fields, examples in three languages, and a field to try it.

import { ApiError, getJson, key, pieces, request } from "./api.js";
import { CopyButton } from "./clipboard.js";
import { html, useEffect, useState } from "./html.js";
import { example } from "./snippets.js";
import { FAMILIES } from "./families.js";

const METHODS = ["get", "post", "delete"];
const MAX_SHOWN = 20000;

export function Reference() {
  const [api, setApi] = useState(null);
  const [problem, setProblem] = useState("");
  const [words, setWords] = useState("");
  useEffect(() => {
    getJson("openapi.json").then(setApi, (error) => setProblem(error.message));
  }, []);
  if (!api) return html`<section class="reference"><p role="status" class=${problem && "error"}>${problem || "…"}</p></section>`;

  const routes = Object.entries(api.paths).flatMap(([path, methods]) =>
    METHODS.filter((method) => methods[method]).map((method) => ({ path, method, about: methods[method], family: methods[method].tags?.[0] })));
  const wanted = words.trim().toLowerCase();
  const shown = routes.filter((route) => !wanted || `${route.path} ${route.about.description}`.toLowerCase().includes(wanted));
  const families = [...new Set(shown.map((route) => route.family))];
  return html`
    <section class="reference">
      <h2>The API of this daemon</h2>
      <p>Its address is <code>${location.origin}</code>. ${api.info.description} <a href="openapi.json">openapi.json</a> is this page for programs.</p>
      <label>Search <input type="search" value=${words} onInput=${(event) => setWords(event.target.value)} placeholder="chat, embeddings, /api/…" /></label>
      ${families.map((name) => html`
        <section key=${name}>
          <h3>${FAMILIES[name]?.title ?? name}</h3>
          ${FAMILIES[name] && html`<p>${FAMILIES[name].about}</p>`}
          ${FAMILIES[name]?.client && html`<${Snippet} label="With its own client, in Python" text=${FAMILIES[name].client(location.origin)} />`}
          ${shown.filter((route) => route.family === name).map((route) => html`<${Route} key=${route.method + route.path} route=${route} api=${api} />`)}
        </section>`)}
      ${!shown.length && html`<p>No route has these words.</p>`}
    </section>
  `;
}

function Route({ route, api }) {
  const [isOpen, setOpen] = useState(false);
  return html`
    <details class="route" onToggle=${(event) => setOpen(event.target.open)}>
      <summary><b>${route.method.toUpperCase()}</b> <code>${route.path}</code> <span>${(route.about.description ?? "").split("\n")[0]}</span></summary>
      ${isOpen && html`<${Details} route=${route} api=${api} />`}
    </details>
  `;
}

function Details({ route, api }) {
  const content = route.about.requestBody?.content?.["application/json"];
  const given = content ? Object.values(content.examples ?? {})[0]?.value ?? {} : null;
  const [body, setBody] = useState(given === null ? "" : JSON.stringify(given, null, 2));
  const [path, setPath] = useState(route.path);
  const more = (route.about.description ?? "").split("\n").slice(1).join(" ").trim();
  return html`
    ${more && html`<p>${more}</p>`}
    ${content && html`<${Fields} schema=${resolved(content.schema, api)} api=${api} />`}
    <${Examples} method=${route.method} path=${path} body=${body} />
    <${Try} method=${route.method} path=${path} setPath=${setPath} body=${body} setBody=${setBody} takesBody=${given !== null} />
  `;
}

function Fields({ schema, api }) {
  const fields = Object.entries(schema.properties ?? {});
  if (!fields.length) return null;
  return html`
    <div class="scroll fields-table" tabindex="0" role="region" aria-label="Fields">
      <table>
        <thead><tr><th scope="col">Field</th><th scope="col">What it takes</th></tr></thead>
        <tbody>
          ${fields.map(([name, field]) => html`
            <tr key=${name}>
              <th scope="row"><code>${name}</code>${schema.required?.includes(name) && " (required)"}</th>
              <td>${kind(field, api)}</td>
            </tr>`)}
        </tbody>
      </table>
    </div>
  `;
}

const resolved = (schema, api) => (schema?.$ref ? api.components.schemas[schema.$ref.split("/").at(-1)] : schema) ?? {};

/** A field's type in a few words. */
function kind(field, api) {
  if (field.anyOf) return field.anyOf.filter((one) => one.type !== "null").map((one) => kind(one, api)).join(" or ");
  if (field.$ref) return kind({ ...resolved(field, api), $ref: undefined }, api);
  if (field.const !== undefined) return JSON.stringify(field.const);
  if (field.enum) return field.enum.map((value) => JSON.stringify(value)).join(", ");
  if (field.type === "array") return `list of ${kind(field.items ?? {}, api)}`;
  const bounds = [
    ["at least", field.minimum],
    ["at most", field.maximum],
    ["above", field.exclusiveMinimum],
    ["below", field.exclusiveMaximum],
  ];
  const words = bounds.filter(([, bound]) => bound !== undefined && Math.abs(bound) < 2 ** 31 - 1).map(([word, bound]) => `${word} ${bound}`);
  return [field.type ?? "anything", ...words].join(", ");
}

function Examples({ method, path, body }) {
  const [language, setLanguage] = useState("curl");
  const text = example(language, { method, url: location.origin + path, body, withKey: key.get() !== "" });
  return html`
    <div class="row" role="group" aria-label="Language of the example">
      ${["curl", "Python", "JavaScript"].map((name) => html`
        <button key=${name} type="button" class="quiet" aria-pressed=${name === language} onClick=${() => setLanguage(name)}>${name}</button>`)}
    </div>
    <${Snippet} label=${`Example in ${language}`} text=${text} />
  `;
}

function Snippet({ label, text }) {
  return html`
    <div class="code">
      <div class="code-bar"><span>${label}</span><${CopyButton} text=${() => text} /></div>
      <pre tabindex="0" role="region" aria-label=${label}>${text}</pre>
    </div>
  `;
}

function Try({ method, path, setPath, body, setBody, takesBody }) {
  const [answer, setAnswer] = useState(null);
  const [busy, setBusy] = useState(false);
  const rows = Math.min(14, body.split("\n").length + 1);

  async function send(event) {
    event.preventDefault();
    setBusy(true);
    setAnswer(null);
    try {
      const parsed = takesBody ? JSON.parse(body) : undefined;
      const response = await request(path, { method: method.toUpperCase(), body: parsed });
      setAnswer({ status: response.status, text: await reading(response, (text) => setAnswer({ status: response.status, text })) });
    } catch (error) {
      const words = error instanceof ApiError ? error.message + (error.hint ? `\nHint: ${error.hint}` : "") : `The body is not JSON: ${error.message}`;
      setAnswer({ status: error.status ?? 0, text: words });
    }
    setBusy(false);
  }

  return html`
    <form class="try" onSubmit=${send}>
      ${path.includes("{") || path !== encodeURI(path) || !takesBody
        ? html`<label>Path <input class="mono" value=${path} onInput=${(event) => setPath(event.target.value)} /></label>`
        : null}
      ${takesBody && html`<label>Body <textarea class="mono" rows=${rows} spellcheck="false" value=${body} onInput=${(event) => setBody(event.target.value)}></textarea></label>`}
      <button type="submit" disabled=${busy}>${busy ? "Sending …" : "Send"}</button>
      ${answer && html`
        <p role="status">${answer.status ? `Status ${answer.status}` : "No answer"}</p>
        <pre class="answer" tabindex="0" role="region" aria-label="Answer">${answer.text}</pre>`}
    </form>
  `;
}

/** The text of a response, shown while it comes; JSON is indented. */
async function reading(response, show) {
  let text = "";
  for await (const piece of pieces(response)) {
    text += piece;
    show(text.slice(0, MAX_SHOWN));
    if (text.length > MAX_SHOWN) return `${text.slice(0, MAX_SHOWN)}\n… (more is not shown)`;
  }
  return response.headers.get("content-type")?.startsWith("application/json") ? JSON.stringify(JSON.parse(text), null, 2) : text;
}
