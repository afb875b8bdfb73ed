// Conversations, kept in this browser only (IndexedDB).
//
// A conversation is a tree of messages: an edited message or a new answer is a sibling of the old one. `leaf` is the last
// message of the branch that is shown.

const DATABASE = "edgeinfer";
const STORE = "conversations";

export const newId = () => Array.from(crypto.getRandomValues(new Uint8Array(9)), (byte) => byte.toString(36).padStart(2, "0")).join("");

export function newConversation(settings = {}) {
  const now = Date.now();
  return { id: newId(), title: "", created: now, updated: now, settings, nodes: {}, leaf: null };
}

/** Add a message below `parent` and show its branch; -> the message. */
export function addMessage(conversation, parent, message) {
  const node = { id: newId(), parent, ...message };
  conversation.nodes[node.id] = node;
  conversation.leaf = node.id;
  conversation.updated = Date.now();
  if (!conversation.title && node.role === "user") conversation.title = titleOf(node.content);
  return node;
}

/** The messages from the first one to `leaf`. */
export function branch(conversation, leaf = conversation.leaf) {
  const messages = [];
  for (let node = conversation.nodes[leaf]; node; node = conversation.nodes[node.parent]) messages.unshift(node);
  return messages;
}

export const siblings = (conversation, node) =>
  Object.values(conversation.nodes).filter((other) => other.parent === node.parent && other.role === node.role);

/** Show the branch through `node`, down to its newest message. */
export function show(conversation, node) {
  for (;;) {
    const children = Object.values(conversation.nodes).filter((child) => child.parent === node.id);
    if (!children.length) break;
    node = children[children.length - 1];
  }
  conversation.leaf = node.id;
}

export const titleOf = (text) => text.trim().replace(/\s+/g, " ").slice(0, 60) || "New conversation";

export function matches(conversation, words) {
  const wanted = words.toLowerCase().split(/\s+/).filter(Boolean);
  const texts = [conversation.title, ...Object.values(conversation.nodes).map((node) => node.content ?? "")];
  const all = texts.join("\n").toLowerCase();
  return wanted.every((word) => all.includes(word));
}

function open() {
  return new Promise((resolve, reject) => {
    const opening = indexedDB.open(DATABASE, 1);
    opening.onupgradeneeded = () => opening.result.createObjectStore(STORE, { keyPath: "id" });
    opening.onsuccess = () => resolve(opening.result);
    opening.onerror = () => reject(opening.error);
  });
}

async function run(mode, act) {
  const database = await open();
  try {
    return await new Promise((resolve, reject) => {
      const transaction = database.transaction(STORE, mode);
      const asked = act(transaction.objectStore(STORE));
      transaction.oncomplete = () => resolve(asked.result);
      transaction.onerror = transaction.onabort = () => reject(transaction.error);
    });
  } finally {
    database.close();
  }
}

export const all = async () => (await run("readonly", (store) => store.getAll())).sort((a, b) => b.updated - a.updated);
export const save = (conversation) => run("readwrite", (store) => store.put(conversation));
export const remove = (id) => run("readwrite", (store) => store.delete(id));
export const removeAll = () => run("readwrite", (store) => store.clear());

/** All conversations as a file to keep. */
export const exported = (conversations) => JSON.stringify({ format: "edgeinfer-conversations", version: 1, conversations }, null, 1);

/** The conversations in an exported file, with ids of their own. Throws Error with words for the user. */
export function imported(text) {
  let data;
  try {
    data = JSON.parse(text);
  } catch {
    throw new Error("This file is not JSON.");
  }
  if (data?.format !== "edgeinfer-conversations" || !Array.isArray(data.conversations)) {
    throw new Error("This file has no conversations of edgeinfer.");
  }
  return data.conversations.map(checked);
}

const ROLES = ["user", "assistant", "tool"];

function checked(raw) {
  const conversation = newConversation(plain(raw.settings));
  conversation.title = titleOf(String(raw.title ?? ""));
  conversation.created = Number(raw.created) || conversation.created;
  conversation.updated = Number(raw.updated) || conversation.updated;
  for (const [id, node] of Object.entries(plain(raw.nodes))) {
    if (!ROLES.includes(node?.role)) continue;
    conversation.nodes[id] = { ...node, id, content: String(node.content ?? "") };
  }
  conversation.leaf = conversation.nodes[raw.leaf] ? raw.leaf : null;
  const seen = new Set();
  for (let node = conversation.nodes[conversation.leaf]; node; node = conversation.nodes[node.parent]) {
    if (seen.has(node.id)) throw new Error("A conversation in this file goes round in a circle.");
    seen.add(node.id);
  }
  return conversation;
}

const plain = (value) => (value && typeof value === "object" && !Array.isArray(value) ? value : {});
