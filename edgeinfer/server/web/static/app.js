// The page: chat and machine, after the key where one is wanted.

import { Chat } from "./chat.js";
import { all, newConversation } from "./conversations.js";
import { html, render, useEffect, useModule, useRef, useState } from "./html.js";
import { KeyForm } from "./key.js";
import { Live } from "./live.js";
import { listModels } from "./models.js";
import { Sidebar } from "./sidebar.js";

const VIEWS = { chat: "Chat", machine: "This machine", api: "API" };

const loadMachine = () => import("./machine.js");
const loadReference = () => import("./reference.js");

/** The view that the address names; /docs is the API, as in other servers. */
const viewOf = () => (location.hash.slice(1) in VIEWS ? location.hash.slice(1) : location.pathname.endsWith("/docs") ? "api" : "chat");

function App() {
  const [wantsKey, setWantsKey] = useState(false);
  const [models, setModels] = useState(null);
  const [problem, setProblem] = useState("");
  const [view, setView] = useState(viewOf);
  const [conversations, setConversations] = useState([]);
  const [current, setCurrent] = useState(() => newConversation());
  const [sidebar, setSidebar] = useState(false);
  const live = useRef(null);
  live.current ??= new Live();

  async function readModels() {
    try {
      setModels(await listModels());
      setProblem("");
      setWantsKey(false);
    } catch (error) {
      if (error.status === 401) setWantsKey(true);
      else setProblem(error.message);
    }
  }
  const readConversations = () => all().then(setConversations, () => {});
  const dropped = (id) => {
    readConversations();
    if (id === current.id) setCurrent(newConversation());
  };
  const open = (conversation) => {
    setCurrent(conversation ?? newConversation({ ...current.settings }));
    setSidebar(false);
    location.hash = "chat";
  };

  useEffect(() => {
    readModels();
    readConversations();
    const changed = () => setView(viewOf());
    addEventListener("hashchange", changed);
    return () => removeEventListener("hashchange", changed);
  }, []);

  if (wantsKey) return html`<${KeyForm} accepted=${readModels} />`;
  return html`
    <header class="top">
      ${view === "chat"
        && html`<button type="button" class="quiet menu" aria-expanded=${sidebar} aria-label="Conversations" onClick=${() => setSidebar(!sidebar)}>☰</button>`}
      <h1>edgeinfer</h1>
      <nav aria-label="Views">
        ${Object.entries(VIEWS).map(([name, label]) => html`<a key=${name} href=${`./#${name}`} aria-current=${view === name ? "page" : undefined}>${label}</a>`)}
      </nav>
    </header>
    ${problem && html`<p class="error" role="alert">${problem} <button type="button" onClick=${readModels}>Try again</button></p>`}
    <div class=${`body ${view}-view ${sidebar ? "with-sidebar" : ""}`}>
      ${view === "chat" && html`<${Sidebar} conversations=${conversations} current=${current} open=${open} changed=${dropped} />`}
      <main>
        ${view === "api" && html`<${Later} load=${loadReference} name="Reference" />`}
        ${view === "machine" && html`<${Later} load=${loadMachine} name="Machine" live=${live.current} models=${models} changed=${readModels} />`}
        ${view === "chat"
          && html`<${Chat} key=${current.id} conversation=${current} models=${models} readModels=${readModels} changed=${readConversations} />`}
      </main>
    </div>
  `;
}

/** A component of a module that the page's first view does not need. */
function Later({ load, name, ...properties }) {
  const { module, problem } = useModule(load);
  if (!module) return html`<p role="status" class=${problem && "error"}>${problem ?? "…"}</p>`;
  return html`<${module[name]} ...${properties} />`;
}

render(html`<${App} />`, document.getElementById("app"));
