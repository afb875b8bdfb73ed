// A request in three languages.

const KEY = "YOUR_KEY";

/** @param withKey the daemon wants a key, so the example has a place for one */
export function example(language, request) {
  return { curl, Python: python, JavaScript: javascript }[language](request);
}

const isRead = (method, body) => method === "get" && !body;
const quoted = (text) => `'${text.replaceAll("'", `'\\''`)}'`;

function curl({ method, url, body, withKey }) {
  const lines = [`curl ${isRead(method, body) || (method === "post" && body) ? "" : `-X ${method.toUpperCase()} `}${quoted(url)}`];
  if (withKey) lines.push(`-H 'Authorization: Bearer ${KEY}'`);
  if (body) lines.push(`-H 'Content-Type: application/json'`, `-d ${quoted(body)}`);
  return lines.join(" \\\n  ");
}

function python({ method, url, body, withKey }) {
  const given = [JSON.stringify(url)];
  if (body) given.push(`json=${literal(body)}`);
  if (withKey) given.push(`headers={"Authorization": "Bearer ${KEY}"}`);
  return `import httpx\n\nresponse = httpx.${method === "delete" && body ? `request("DELETE", ` : `${method}(`}${[...given, "timeout=600"].join(", ")})\nprint(response.json())`;
}

/** JSON as Python writes it. */
function literal(body) {
  try {
    return write(JSON.parse(body));
  } catch {
    return body;
  }
}

function write(value) {
  if (value === true) return "True";
  if (value === false) return "False";
  if (value === null) return "None";
  if (Array.isArray(value)) return `[${value.map(write).join(", ")}]`;
  if (typeof value === "object") return `{${Object.entries(value).map(([name, one]) => `${JSON.stringify(name)}: ${write(one)}`).join(", ")}}`;
  return JSON.stringify(value);
}

function javascript({ method, url, body, withKey }) {
  const headers = [];
  if (body) headers.push(`"Content-Type": "application/json"`);
  if (withKey) headers.push(`Authorization: "Bearer ${KEY}"`);
  const options = [];
  if (!isRead(method, body)) options.push(`method: "${method.toUpperCase()}"`);
  if (headers.length) options.push(`headers: { ${headers.join(", ")} }`);
  if (body) options.push(`body: JSON.stringify(${body})`);
  const given = options.length ? `, {\n  ${options.join(",\n  ")},\n}` : "";
  return `const response = await fetch(${JSON.stringify(url)}${given});\nconsole.log(await response.json());`;
}
