"""Hides control tokens in callers' text from a template, and finds them again in what it rendered."""

from __future__ import annotations

import re
import secrets
from bisect import bisect_left
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from edgeinfer.chat.control_tokens import Range
from edgeinfer.chat.template_guard import TemplateGuard
from edgeinfer.errors import InvalidRequest
from edgeinfer.inference.types import Span

FIRST, LAST = 0xE000, 0xF8FF
"""Unicode's private use area: no letters, no space, one UTF-16 unit, nothing that JSON escapes."""

PRIVATE = re.compile("[\ue000-\uf8ff]")

ESCAPE = re.compile(r"\\u([ef][0-9a-f]{3})")
"""How Python's repr, and JSON in ASCII, write such a character."""

SOFT = re.compile(r"""[^\s"\\\x00-\x1f]""")
"""Characters that may be hidden at no loss: trimming and JSON treat what stands in for them alike."""


class ControlTokenMask:
    """One call's substitution: each character of the control tokens has a private one that stands in for it.

    The private ones are chosen at random among those that the caller's values, the template and the control
    tokens do without.
    One character stands for one, so there is nothing that a template could damage: it may drop, move, repeat
    or print escaped what it gets, but a stand-in comes out as the caller's character or not at all. A stand-in
    from anywhere else could only make text less trusted.

    Attributes:
        mark: a private character which stands for nothing.
    """

    def __init__(self, guard: TemplateGuard, values: Any) -> None:
        """Raises InvalidRequest where the values leave no private characters free."""
        chars = guard.tokens.chars
        start = _free([chars, guard.source, *texts(values)], len(chars) + 1)
        self._guard = guard
        self._hide = {char: chr(start + n) for n, char in enumerate(chars)}
        self._soft = frozenset(filter(SOFT.match, chars))
        self._seen: dict[str, str] = {}  # schemas repeat themselves
        self._show = str.maketrans({private: char for char, private in self._hide.items()})
        self.sentinel = chr(start + len(chars))

    def mask(self, value: Any) -> Any:
        """A copy of JSON-like data, its texts and keys made harmless."""
        if isinstance(value, str):
            if value not in self._seen:
                self._seen[value] = self._cover(value)
            return self._seen[value]
        if isinstance(value, dict):
            return {self.mask(key): self.mask(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.mask(item) for item in value]
        return value

    def unmask(self, text: str) -> str:
        """The text with the caller's characters back in it."""
        return self._unescape(text).translate(self._show)

    def spans(self, text: str) -> list[Span]:
        """Rendered text, its parts alternately trusted and not.

        Untrusted are those of a caller's characters that a control token would stand on, and what lies
        between two such if that is none of the template's tokens. Ordinary text stays in one piece with the
        template's, and tokenizes as such.
        """
        covered = self._unescape(text)
        plain = covered.translate(self._show)
        find = self._guard.tokens.find
        kept = [start for start, _ in find(covered)]  # private characters are in no token
        broken = (range(*places) for places in find(plain))
        hidden = sorted({n for places in broken for n in places if covered[n] != plain[n]})
        spans, done = [], 0
        for start, end in _runs(hidden, kept):
            spans += [Span(plain[done:start]), Span(plain[start:end], False)]
            done = end
        return [span for span in (*spans, Span(plain[done:])) if span.text]

    def _cover(self, text: str) -> str:
        return "".join(part if harmless else self._hidden(part) for part, harmless in self._guard.parts(text))

    def _hidden(self, text: str) -> str:
        hidden = text
        for key in self._guard.tokens.keys:
            hidden = hidden.replace(key, self._hide[key])
        ranges = list(self._guard.dangers(text))
        if not ranges:
            return hidden
        chars = list(hidden)
        for start, end in ranges:
            for n in [n for n in range(start, end) if text[n] in self._soft] or range(start, end):
                chars[n] = self._hide[text[n]]
        for start, end in self._guard.tokens.find("".join(chars)):  # tokens of quotes and spaces only
            chars[start:end] = map(self._hide.__getitem__, text[start:end])
        return "".join(chars)

    def _unescape(self, text: str) -> str:
        return ESCAPE.sub(self._character, text) if "\\u" in text else text

    def _character(self, match: re.Match[str]) -> str:
        char = chr(int(match[1], 16))
        return char if ord(char) in self._show or char == self.sentinel else match[0]


def _runs(places: list[int], kept: list[int]) -> list[Range]:
    """Ranges over the sorted places, none of which has a member of the sorted `kept` between two places."""
    runs: list[Range] = []
    for n in places:
        if runs and bisect_left(kept, runs[-1][1]) == bisect_left(kept, n):
            runs[-1] = (runs[-1][0], n + 1)
        else:
            runs.append((n, n + 1))
    return runs


def texts(value: Any) -> Iterator[str]:
    """Every text and key in JSON-like data."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from texts(key)
            yield from texts(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from texts(item)


def _free(texts: list[str], size: int) -> int:
    """The start of `size` private characters that no text has, literally or escaped."""
    taken = {ord(char) for text in texts if not text.isascii() for char in PRIVATE.findall(text)}
    escaped = {int(code, 16) for text in texts if "\\u" in text for code in ESCAPE.findall(text)}
    bounds = [FIRST - 1, *sorted(taken | {code for code in escaped if code <= LAST}), LAST + 1]
    starts = [range(after + 1, before - size + 1) for after, before in pairwise(bounds)]
    gaps = [gap for gap in starts if gap]
    if not gaps:
        raise InvalidRequest("the messages use too many of Unicode's private characters", param="messages")
    return secrets.choice(secrets.choice(gaps))
