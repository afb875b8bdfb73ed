"""OpenAI's Responses API: answers made of items, which can be stored and continued."""
