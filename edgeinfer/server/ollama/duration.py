"""Durations as Ollama's clients write them: seconds, or a text in Go's form such as "5m" or "1h30m"."""

from __future__ import annotations

import math
import re

UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}

MAX_LENGTH = 64
"""Characters of a text."""

EXPECTED = 'must be seconds, or a duration such as "5m" or "1h30m"; -1 is for ever'

_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)")
_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)")


def parse_duration(value: object) -> float:
    """Return the seconds; any negative duration is for ever, which is infinity.

    Raises:
        ValueError: it is not a duration.
    """
    if isinstance(value, str):
        seconds = _parse_text(value.strip())
    elif isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        seconds = float(value)
    else:
        raise ValueError(EXPECTED)
    return math.inf if seconds < 0 else seconds


def _parse_text(text: str) -> float:
    if len(text) > MAX_LENGTH:
        raise ValueError(EXPECTED)
    if _NUMBER.fullmatch(text):  # Go wants a unit, but clients write "-1" and "300"
        return float(text)
    sign, rest = (-1.0, text[1:]) if text.startswith("-") else (1.0, text.removeprefix("+"))
    parts = _PART.findall(rest)
    if not parts or "".join(number + unit for number, unit in parts) != rest:
        raise ValueError(EXPECTED)
    return sign * sum(float(number) * UNITS[unit] for number, unit in parts)
