"""Those routes of llama-server that have no like in OpenAI's API."""
