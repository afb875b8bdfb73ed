// The API families, in a sentence each, with the client that people use for them.

export const FAMILIES = {
  openai: {
    title: "OpenAI",
    about: "Chat completions, completions, embeddings and models, for every program that takes a base URL.",
    client: (address) => `from openai import OpenAI

client = OpenAI(base_url="${address}/v1", api_key="none")  # or your key
answer = client.chat.completions.create(model="default", messages=[{"role": "user", "content": "Hello"}])
print(answer.choices[0].message.content)`,
  },
  responses: {
    title: "OpenAI's Responses",
    about: "OpenAI's newer protocol, which Codex speaks. Answers are made of items, which the daemon keeps for a while.",
    client: (address) => `from openai import OpenAI

client = OpenAI(base_url="${address}/v1", api_key="none")
answer = client.responses.create(model="default", input="Hello")
print(answer.output_text)`,
  },
  anthropic: {
    title: "Anthropic",
    about: "Messages, for Claude Code and programs that use Anthropic's client.",
    client: (address) => `from anthropic import Anthropic

client = Anthropic(base_url="${address}", api_key="none")
answer = client.messages.create(model="default", max_tokens=200, messages=[{"role": "user", "content": "Hello"}])
print(answer.content[0].text)`,
  },
  ollama: {
    title: "Ollama",
    about: "For programs that look for Ollama, such as Home Assistant. Streams are lines of JSON.",
    client: (address) => `from ollama import Client

client = Client(host="${address}")
answer = client.chat(model="default", messages=[{"role": "user", "content": "Hello"}])
print(answer.message.content)`,
  },
  llama_server: {
    title: "llama-server",
    about: "What llama.cpp's server has beside OpenAI's routes: filling gaps, tokens, reranking, loading of models.",
  },
  admin: { title: "This daemon", about: "Health, state and metrics." },
};
