"""The requests of Anthropic's API."""
