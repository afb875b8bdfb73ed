"""Masks control tokens in callers' text while a template renders it."""

from __future__ import annotations

import re
import secrets
from bisect import bisect_left
from collections.abc import Iterator
from itertools import accumulate, pairwise
from typing import Any

from edgeinfer.chat.longest_match import Range
from edgeinfer.chat.template_guard import TemplateGuard
from edgeinfer.errors import InvalidRequest
from edgeinfer.inference.types import Span

FIRST, LAST = 0xE000, 0xF8FF
"""Unicode's private use area: neither letters nor space, one UTF-16 unit, nothing that JSON escapes."""

PRIVATE = re.compile("[\ue000-\uf8ff]")

ESCAPE = re.compile(r"\\u([ef][0-9a-f]{3})")
"""The form of such a character in Python's repr, and in JSON in ASCII."""

SOFT = re.compile(r"""[^\s"\\\x00-\x1f]""")
"""Characters that may be masked without loss: trimming and JSON treat their stand-ins alike."""


class ControlTokenMask:
    """A substitution for one rendering: private characters stand in for the characters of control tokens.

    The private ones are chosen at random among those that occur neither in the caller's values nor in the
    template. One character stands for one, so there is nothing that a template could damage: it may drop, move,
    repeat or escape what it gets, but a stand-in comes out as the caller's character or not at all. A stand-in
    from anywhere else could only make text less trusted.

    Attributes:
        sentinel: a private character that stands for nothing.
    """

    def __init__(self, guard: TemplateGuard, values: Any) -> None:
        """Raises InvalidRequest if the values leave no private characters free."""
        chars = guard.tokens.chars
        start = _free([chars, guard.source, *iter_texts(values)], len(chars) + 1)
        self._guard = guard
        self._stand_ins = {char: chr(start + n) for n, char in enumerate(chars)}
        self._soft = frozenset(filter(SOFT.match, chars))
        self._masked: dict[str, str] = {}  # schemas repeat themselves
        self._originals = str.maketrans({private: char for char, private in self._stand_ins.items()})
        self.sentinel = chr(start + len(chars))

    def mask(self, value: Any) -> Any:
        """A copy of JSON-like data whose texts and keys are harmless."""
        if isinstance(value, str):
            if value not in self._masked:
                self._masked[value] = self._mask_text(value)
            return self._masked[value]
        if isinstance(value, dict):
            return {self.mask(key): self.mask(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.mask(item) for item in value]
        return value

    def unmask(self, text: str) -> str:
        """The text with the caller's own characters."""
        return self._unescape(text).translate(self._originals)

    def spans(self, text: str) -> list[Span]:
        """Rendered text as trusted and untrusted spans.

        Untrusted are the caller's characters that would be part of a control token, and the text between two
        such places unless it holds a token of the template's. Ordinary text stays in one piece with the
        template's, so that it tokenizes alike.
        """
        masked = self._unescape(text)
        plain = masked.translate(self._originals)
        find = self._guard.tokens.find
        own = [start for start, _ in find(masked)]  # no token has private characters
        hidden = [n for n in _places(list(find(plain))) if masked[n] != plain[n]]
        spans, done = [], 0
        for start, end in _runs(hidden, own):
            spans += [Span(plain[done:start]), Span(plain[start:end], False)]
            done = end
        return [span for span in (*spans, Span(plain[done:])) if span.text]

    def _mask_text(self, text: str) -> str:
        return "".join(
            part if harmless else self._mask_part(part) for part, harmless in self._guard.parts(text)
        )

    def _mask_part(self, text: str) -> str:
        masked = text
        for key in self._guard.tokens.keys:
            masked = masked.replace(key, self._stand_ins[key])
        ranges = list(self._guard.dangers(text))
        if not ranges:
            return masked
        chars = list(masked)
        soft = [char in self._soft for char in text]
        counts = list(accumulate(soft, initial=0))
        hard = [(start, end) for start, end in ranges if counts[start] == counts[end]]
        for n in _places(ranges):
            if soft[n]:
                chars[n] = self._stand_ins[text[n]]
        # White space and quotes are left to trimming and JSON, except in tokens of nothing else.
        for places in (hard, list(self._guard.tokens.find("".join(chars)))):
            for n in _places(places):
                chars[n] = self._stand_ins[text[n]]
        return "".join(chars)

    def _unescape(self, text: str) -> str:
        return ESCAPE.sub(self._character, text) if "\\u" in text else text

    def _character(self, match: re.Match[str]) -> str:
        char = chr(int(match[1], 16))
        return char if ord(char) in self._originals or char == self.sentinel else match[0]


def _places(ranges: list[Range]) -> Iterator[int]:
    """Each place in the ranges, which may overlap, once and in order."""
    done = 0
    for start, end in sorted(ranges):
        yield from range(max(start, done), end)
        done = max(done, end)


def _runs(places: list[int], separators: list[int]) -> list[Range]:
    """Ranges over the sorted places, none of which has one of the sorted `separators` between two places."""
    runs: list[Range] = []
    for n in places:
        if runs and bisect_left(separators, runs[-1][1]) == bisect_left(separators, n):
            runs[-1] = (runs[-1][0], n + 1)
        else:
            runs.append((n, n + 1))
    return runs


def iter_texts(value: Any) -> Iterator[str]:
    """All texts and keys in JSON-like data."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from iter_texts(key)
            yield from iter_texts(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from iter_texts(item)


def _free(texts: list[str], size: int) -> int:
    """The first of `size` successive private characters that no text has, literally or escaped."""
    taken = {ord(char) for text in texts if not text.isascii() for char in PRIVATE.findall(text)}
    escaped = {int(code, 16) for text in texts if "\\u" in text for code in ESCAPE.findall(text)}
    bounds = [FIRST - 1, *sorted(taken | {code for code in escaped if code <= LAST}), LAST + 1]
    starts = [range(after + 1, before - size + 1) for after, before in pairwise(bounds)]
    gaps = [gap for gap in starts if gap]
    if not gaps:
        raise InvalidRequest("the messages use too many of Unicode's private characters", param="messages")
    return secrets.choice(secrets.choice(gaps))
