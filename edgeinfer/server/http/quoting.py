"""Shortens what errors repeat of a request."""

from __future__ import annotations

from collections.abc import Sequence

MAX_QUOTED = 100
"""Characters of a name or value in an error."""

MAX_KEY = 64
"""Characters of a key in a path."""


def shortened(text: str, limit: int = MAX_QUOTED) -> str:
    """The text, or its beginning and an ellipsis."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def quoted(value: object) -> str:
    """A name or value as errors show it."""
    return repr(shortened(value)) if isinstance(value, str) else shortened(repr(value))


def dotted(path: Sequence[str | int]) -> str:
    """`["messages", 0, "role"]` -> `messages[0].role`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{shortened(part, MAX_KEY)}" if text else shortened(part, MAX_KEY)
    return text
