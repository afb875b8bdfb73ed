"""Reads a text out of arguments that may have been cut."""

from __future__ import annotations

import json

MAX_ESCAPE = len(r"\ud83d\ude00")
"""Characters of the longest escape sequence, which a cut may have halved."""


def text_argument(arguments: str, name: str) -> str:
    """The text of the only argument, `name`; of a call that was cut, as much as has come."""
    _, _, rest = arguments.partition(f'"{name}"')
    _, _, rest = rest.partition('"')
    for cut in range(MAX_ESCAPE + 1):
        try:
            text, _ = json.JSONDecoder().raw_decode('"' + rest[: len(rest) - cut] + '"')
        except ValueError:
            continue
        return _whole(text)
    return ""


def _whole(text: str) -> str:
    """The text without half of a character at its end."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "ignore")
