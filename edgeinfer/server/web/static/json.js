// JSON as people read it.

const TOKENS = /"(?:\\.|[^"\\])*"|[{}[\],:]|[^\s{}[\],:"]+/g;
/** What is nested deeper is not moved further to the right: it would take far more room than the text has. */
const MAX_DEPTH = 20;

/** Whether a text is one object or list. */
export function isJson(text) {
  if (!/^\s*[{[]/.test(text)) return false;
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

/** Indent a text if it is an object or a list; numbers and strings stay as they are written. */
export function indented(text) {
  if (!isJson(text)) return text;
  let depth = 0;
  let before = "";
  const line = () => `\n${"  ".repeat(Math.min(depth, MAX_DEPTH))}`;
  return text.match(TOKENS).reduce((shown, token) => {
    const closes = token === "}" || token === "]";
    if (closes) depth -= 1;
    const opened = before === "{" || before === "[";
    if (closes ? !opened : opened || before === ",") shown += line();
    if (token === "{" || token === "[") depth += 1;
    before = token;
    return shown + (token === ":" ? ": " : token);
  }, "");
}
