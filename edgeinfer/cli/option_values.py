"""Reads values of options, and says in a sentence what an option takes: typer's words change with its version."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec
import typer
from msgspec import Meta

MAX_SHOWN = 50
"""Characters of a bad value that an error repeats."""

KINDS = {int: "a whole number", float: "a number"}


def number(
    kind: type[int] | type[float],
    *,
    ge: float | None = None,
    gt: float | None = None,
    le: float | None = None,
    advice: str | None = None,
) -> dict[str, Any]:
    """Return the arguments of `typer.Option` for a number within bounds; `advice` follows the error."""
    limits: dict[str, Any] = {
        name: limit for name, limit in (("ge", ge), ("gt", gt), ("le", le)) if limit is not None
    }
    within = Annotated[kind, Meta(**limits)] if limits else kind
    parser = _parser(within, KINDS[kind] + _range(ge, gt, le), advice)
    return {"parser": parser, "metavar": "N", "min": ge, "max": le}


def choice(words: Sequence[str], other_names: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return the arguments of `typer.Option` for one of some words, which may have other names."""
    names = other_names or {}

    def parse(value: Any) -> Any:
        close = difflib.get_close_matches(str(value)[:MAX_SHOWN], words, n=1)
        advice = f"did you mean {close[0]}?" if close else None
        return _parser(Literal[tuple(words)], f"one of {', '.join(words)}", advice)(
            names.get(str(value).lower(), value)
        )

    return {"parser": parse, "metavar": f"<{'|'.join(words)}>"}


def metavar_words(metavar: str | None) -> list[str]:
    """Return the words that an option takes, from its metavar as `choice` writes it; none for other options."""
    if not metavar or not metavar.startswith("<"):
        return []
    return metavar.strip("<>").split("|")


def _parser(kind: Any, expected: str, advice: str | None = None) -> Callable[[Any], Any]:
    def parse(value: Any) -> Any:
        try:
            return msgspec.convert(value, kind, strict=False)
        except msgspec.ValidationError:
            problem = f"it must be {expected}, not {str(value)[:MAX_SHOWN]!r}"
            raise typer.BadParameter("; ".join(filter(None, (problem, advice)))) from None

    return parse


def _range(ge: float | None, gt: float | None, le: float | None) -> str:
    if ge is not None and le is not None:
        return f" from {ge:g} to {le:g}"
    words = {"of at least": ge, "above": gt, "of at most": le}
    return "".join(f" {word} {limit:g}" for word, limit in words.items() if limit is not None)
