"""Counts the tokens of texts, by asking the daemon."""

from __future__ import annotations

import httpx

from edgeinfer.client.http import Target, post_json
from edgeinfer.errors import EdgeinferError

BYTES_PER_TOKEN = 3
"""A careful guess, where a server does not count."""


class TokenCounter:
    """Counts the tokens that a text has for a model, each text once.

    Attributes:
        exact: the server counts; False once it has turned out that it does not.
    """

    def __init__(self, client: httpx.Client, target: Target) -> None:
        self.exact = True
        self._client = client
        self._target = target
        self._counted: dict[tuple[str | None, str], int] = {}

    def count(self, text: str, model: str | None) -> int:
        """Return the number of tokens of a text; None means the default model."""
        key = (model, text)
        if key not in self._counted:
            self._counted[key] = self._count(text, model)
        return self._counted[key]

    def _count(self, text: str, model: str | None) -> int:
        if self.exact and text:
            body = {"content": text, "add_special": False} | ({"model": model} if model else {})
            try:
                return len(post_json(self._client, self._target, "/tokenize", body)["tokens"])
            except (EdgeinferError, KeyError, TypeError):
                self.exact = False  # another program's server, from here on
        return len(text.encode("utf-8", "replace")) // BYTES_PER_TOKEN + bool(text)
