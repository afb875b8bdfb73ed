// The daemon's API, as the page uses it: the key, errors, and streams.

const KEY = "edgeinfer.key";

export const key = {
  get: () => sessionStorage.getItem(KEY) ?? localStorage.getItem(KEY) ?? "",
  /** Keep the key for this tab, or for as long as the browser keeps it. */
  set(value, remember) {
    sessionStorage.removeItem(KEY);
    localStorage.removeItem(KEY);
    if (value) (remember ? localStorage : sessionStorage).setItem(KEY, value);
  },
};

/** A response that is not what was asked for; `status` is 0 if there was none at all. */
export class ApiError extends Error {
  constructor(message, status = 0, hint = "") {
    super(message);
    this.status = status;
    this.hint = hint;
  }
}

/** Send a request; -> the response. Throws ApiError. */
export async function request(path, { method = "GET", body, headers = {}, signal } = {}) {
  const sent = { ...headers };
  if (key.get()) sent.authorization = `Bearer ${key.get()}`;
  if (body !== undefined) sent["content-type"] = "application/json";
  let response;
  try {
    // Relative to the page, so that it works below a path of a reverse proxy, too.
    response = await fetch(path.replace(/^\//, ""), { method, headers: sent, signal, body: body === undefined ? undefined : JSON.stringify(body) });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError("The daemon does not answer. It may be starting or stopped.");
  }
  if (!response.ok) throw await failure(response);
  return response;
}

export const getJson = async (path, options) => (await request(path, options)).json();

async function failure(response) {
  const text = await response.text();
  let error;
  try {
    error = JSON.parse(text).error;
  } catch {
    error = text.slice(0, 300);
  }
  if (typeof error === "string") return new ApiError(error || response.statusText, response.status);
  return new ApiError(error?.message ?? response.statusText, response.status, error?.hint ?? "");
}

/** The text of a response in pieces, as they come; stopping ends the request. */
export async function* pieces(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield value;
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

async function* lines(response) {
  let rest = "";
  for await (const piece of pieces(response)) {
    const parts = (rest + piece).split("\n");
    rest = parts.pop();
    yield* parts;
  }
  if (rest) yield rest;
}

/** The data of server-sent events, decoded; throws ApiError for an event with an error. */
export async function* events(response) {
  for await (const line of lines(response)) {
    if (!line.startsWith("data: ") || line === "data: [DONE]") continue;
    const data = JSON.parse(line.slice(6));
    if (data.error) throw new ApiError(data.error.message ?? String(data.error), response.status, data.error.hint ?? "");
    yield data;
  }
}

/** The objects of a response with one on each line. */
export async function* objects(response) {
  for await (const line of lines(response)) {
    if (!line.trim()) continue;
    const data = JSON.parse(line);
    if (data.error) throw new ApiError(String(data.error), response.status);
    yield data;
  }
}
