// Markdown as it arrives: what is complete is rendered once, and only the last piece again.
//
// Text comes from a model, so it is hostile: marked makes HTML of it, DOMPurify keeps a few elements, and nothing is
// loaded from anywhere. A piece that is very long stays plain text, as formatting it could take long.

import { marked } from "./vendor/marked.js";
import DOMPurify from "./vendor/dompurify.js";
import { CopyButton } from "./clipboard.js";
import { html, render } from "./html.js";
import { indented, isJson } from "./json.js";

const MAX_FORMATTED = 20000;
/** Lines without a break are cut into pieces of this many characters: browsers lay out one long line slowly. */
const PIECE = 2000;
const INTERVAL = 80;

const ALLOWED = {
  ALLOWED_TAGS: ["p", "br", "hr", "strong", "em", "del", "code", "pre", "blockquote", "ul", "ol", "li", "a", "h1", "h2", "h3", "h4", "h5", "h6", "table", "thead", "tbody", "tr", "th", "td"],
  ALLOWED_ATTR: ["href", "class", "start", "align"],
  ALLOWED_URI_REGEXP: /^(?:https?|mailto):/i,
  RETURN_DOM_FRAGMENT: true,
};

marked.use({ gfm: true, breaks: true, renderer: { image: ({ text, href }) => escape(text || href), html: ({ text }) => escape(text) } });

const escape = (text) => text.replace(/[&<>"]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[c]);

let highlighter = null;
const loadHighlighter = () => (highlighter ??= import("./vendor/highlight.js").then((module) => module.default));

/** Renders a growing text into `element`. */
export class StreamingMarkdown {
  constructor(element) {
    this.element = element;
    this.clear();
  }

  clear() {
    this.text = "";
    this.done = 0;
    this.tail = null;
    this.timer = null;
    this.fence = null;
    this.json = false;
    this.element.replaceChildren();
  }

  /** Show `text`, which continues what is shown; anything else is rendered from the start. */
  update(text, complete) {
    if (!text.startsWith(this.text) || (this.json && text !== this.text)) this.clear();
    this.text = text;
    if (this.json) return;
    if (complete) this.finish();
    else this.timer ??= setTimeout(() => this.paint(), INTERVAL);
  }

  finish() {
    clearTimeout(this.timer);
    if (this.text.length <= MAX_FORMATTED && isJson(this.text)) return this.showJson();
    this.paint();
    this.settle(this.text.length);
  }

  /** An answer that is JSON as a whole was shown as text while it grew. */
  showJson() {
    const { text } = this;
    this.clear();
    this.text = text;
    this.json = true;
    const pre = document.createElement("pre");
    const code = document.createElement("code");
    code.className = "language-json";
    code.textContent = indented(text);
    pre.append(code);
    this.element.append(pre);
    codeBlock(pre, text);
  }

  paint() {
    this.timer = null;
    const end = this.boundary();
    if (end > this.done) this.settle(end);
    this.paintTail();
  }

  /** The end of the last block that cannot change any more: a blank line outside of a fence. */
  boundary() {
    let end = this.done;
    let at = this.done;
    let fence = null;
    for (;;) {
      const next = this.text.indexOf("\n", at);
      if (next < 0) break;
      const line = this.text.slice(at, next);
      const mark = /^ {0,3}(```+|~~~+)/.exec(line)?.[1];
      if (fence) {
        if (mark && mark[0] === fence[0] && mark.length >= fence.length && /^ {0,3}[`~]+\s*$/.test(line)) {
          fence = null;
          end = next + 1;
        }
      } else if (mark) {
        fence = mark;
        end = Math.max(end, at);
      } else if (!line.trim() && !/^(\s|[-*+>|]|\d+[.)])/.test(this.text.slice(next + 1, next + 3))) {
        end = next + 1;
      }
      at = next + 1;
    }
    this.fence = fence;
    return end;
  }

  settle(end) {
    this.tail?.remove();
    this.tail = null;
    const piece = this.text.slice(this.done, end);
    this.done = end;
    if (piece.trim()) this.element.append(formatted(piece));
  }

  paintTail() {
    const piece = this.text.slice(this.done);
    if (!piece.trim()) return;
    if (this.fence) return this.paintCode(piece);
    this.tail?.remove();
    this.tail = document.createElement("div");
    this.tail.append(formatted(piece));
    this.element.append(this.tail);
  }

  /** A fence that is open grows by text alone. */
  paintCode(piece) {
    const start = piece.indexOf("\n") + 1;
    const code = start ? piece.slice(start) : "";
    if (!this.tail?.growing) {
      this.tail?.remove();
      this.tail = document.createElement("pre");
      this.tail.growing = document.createTextNode("");
      const inner = document.createElement("code");
      inner.append(this.tail.growing);
      this.tail.append(inner);
      this.element.append(this.tail);
    }
    const shown = this.tail.growing.data.length;
    if (code.length > shown) this.tail.growing.appendData(code.slice(shown));
  }
}

function formatted(text) {
  if (text.length > MAX_FORMATTED || text.split("\n").some((line) => line.length > PIECE)) return unformatted(text);
  const fragment = DOMPurify.sanitize(marked.parse(text), ALLOWED);
  for (const link of fragment.querySelectorAll("a")) {
    link.target = "_blank";
    link.rel = "noopener noreferrer nofollow";
  }
  for (const block of fragment.querySelectorAll("p,li,td,th,blockquote,h1,h2,h3,h4,h5,h6")) block.dir = "auto";
  for (const table of fragment.querySelectorAll("table")) {
    const scroll = document.createElement("div");
    scroll.className = "scroll";
    table.replaceWith(scroll);
    scroll.append(table);
  }
  for (const pre of fragment.querySelectorAll("pre")) codeBlock(pre);
  return fragment;
}

function unformatted(text) {
  const block = document.createElement("div");
  block.className = "unformatted";
  block.dir = "auto";
  for (let at = 0; at < text.length; at += PIECE) block.append(text.slice(at, at + PIECE), document.createElement("wbr"));
  return block;
}

/** Give a code block its language, colours and a button to copy it, or the text that it was made of. */
function codeBlock(pre, original) {
  const code = pre.querySelector("code") ?? pre;
  const language = /language-([\w+#.-]{1,30})/.exec(code.className)?.[1] ?? "";
  code.removeAttribute("class");
  const box = document.createElement("div");
  box.className = "code";
  const bar = document.createElement("div");
  bar.className = "code-bar";
  render(html`<span>${language || "text"}</span><${CopyButton} text=${() => original ?? code.textContent} />`, bar);
  pre.replaceWith(box);
  pre.tabIndex = 0;
  pre.setAttribute("role", "region");
  pre.setAttribute("aria-label", `Code${language ? ` in ${language}` : ""}`);
  box.append(bar, pre);
  if (language && code.textContent.length <= MAX_FORMATTED) colour(code, language);
}

async function colour(code, language) {
  const library = await loadHighlighter();
  if (library.getLanguage(language)) {
    code.innerHTML = library.highlight(code.textContent, { language, ignoreIllegals: true }).value;
  }
}
