"""Builds regular expressions that llguidance cannot express itself: lookaheads as conjunctions, and exclusions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from edgeinfer.grammar.regex import ANY, UnsupportedRegex, escape

LOOKAHEAD = re.compile(r"\^?\(\?=")


def split_lookaheads(source: str) -> list[str]:
    """Return expressions that a text matches all of if, and only if, it matches `source`.

    There are several where it begins with lookaheads, as rules for passwords do:
    `^(?=.*[0-9])(?=.*[a-z]).{8,}$`. Raises UnsupportedRegex.
    """
    lookaheads = []
    rest = source
    while (opening := LOOKAHEAD.match(rest)) and source.startswith("^"):
        end = _group_end(rest, opening.end() - 3)
        lookaheads.append(f"^(?:{rest[opening.end() : end]})")
        rest = rest[end + 1 :]
    if not lookaheads:
        return [source]
    if "|" in _outside_groups(rest):
        raise UnsupportedRegex("a lookahead combined with alternatives")
    return [*lookaheads, f"^{rest}"]


def any_text_except(texts: Iterable[str]) -> str:
    """Return an expression that matches every text but these."""
    return f"^{_except(set(texts))}$"


def _except(texts: set[str]) -> str:
    heads = sorted({text[0] for text in texts if text})
    options = [] if "" in texts else [""]
    options.append(f"[^{''.join(map(escape, heads))}\\x00][{ANY}]*" if heads else f"[{ANY}]+")
    options += [escape(head) + _except({text[1:] for text in texts if text[:1] == head}) for head in heads]
    return f"(?:{'|'.join(options)})"


def _group_end(source: str, start: int) -> int:
    """Find where the group that opens at `start` closes."""
    depth = 0
    for index, character in _syntax(source, start):
        depth += {"(": 1, ")": -1}.get(character, 0)
        if depth == 0:
            return index
    raise UnsupportedRegex("an unterminated group")


def _outside_groups(source: str) -> str:
    depth, outside = 0, ""
    for _, character in _syntax(source, 0):
        depth += {"(": 1, ")": -1}.get(character, 0)
        outside += character if depth == 0 else ""
    return outside


def _syntax(source: str, start: int) -> Iterator[tuple[int, str]]:
    """Yield the characters that are neither escaped nor in a class, with their positions."""
    index, bracket = start, -1
    while index < len(source):
        character = source[index]
        if character == "\\":
            index += 1
        elif bracket >= 0:
            if character == "]" and index > bracket + 1:
                bracket = -1
        elif character == "[":
            bracket = index + (source[index + 1 : index + 2] == "^")
        else:
            yield index, character
        index += 1
