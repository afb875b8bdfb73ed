"""Finds the parts of a caller's text that a template could turn into a control token."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import msgspec

from edgeinfer.chat.control_tokens import ControlTokens
from edgeinfer.chat.longest_match import LongestMatch, Range

QUOTED = re.compile(r"""(?=(["'])([^"'\n]{2,64})\1)""")
"""Text between two quotes: the template's string literals, and harmless text between two of them."""

NAME = re.compile(r"""(?<=\.)\w+|(?<=["'])\w+(?=["'.])""")
"""A word after a dot or in quotes: names of fields and values that the template compares."""

SEAM_AFTER = re.compile(r"""["']|(?<!\s)\s*\{|%""")
"""Follows the template's own text where it inserts other text. Each run of white space is looked at once."""

SEAM_BEFORE = re.compile(r"""["']|\}\s*|%s""")
"""Precedes the template's own text where it inserts other text."""


MAX_FINDINGS = 1 << 16
"""Findings of one kind. Real templates have a hundred, and a word for each control token if they build any of them."""


class SourceFindings(msgspec.Struct, frozen=True):
    """The parts of a template's source that matter for callers' text.

    Attributes:
        markers, names: see `TemplateGuard`.
        words: see there; each, between two texts of the template's, is a control token.
    """

    markers: tuple[str, ...]
    names: tuple[str, ...]
    words: tuple[str, ...]


def inspect_source(tokens: ControlTokens, source: str) -> SourceFindings:
    """Find them. The source is untrusted and can make this take long: it is for the template process.

    Raises:
        ValueError: there are too many.
    """
    literals = {match[2].replace("\\n", "\n") for match in QUOTED.finditer(source)}
    markers = (text for text in literals if not tokens.keys.isdisjoint(text) and not tokens.touches(text))
    names = (word for word in set(NAME.findall(source)) if not any(tokens.find(word)))
    return SourceFindings(*map(_listed, (markers, names, _words(tokens, source))))


def _listed(texts: Iterable[str]) -> tuple[str, ...]:
    found = set()
    for text in texts:
        found.add(text)
        if len(found) > MAX_FINDINGS:
            raise ValueError("the chat template has too many names, markers or ways to build a control token")
    return tuple(sorted(found))


class TemplateGuard:
    """Judges callers' text for one model and one template.

    Templates branch on the text they get: on whether it contains `</think>`, on whether a type is "object". So
    two things stay as they are, although they could be parts of control tokens:

    - *markers*, literals of the template which no control token can overlap (`</think>`, `<tool_response>`);
    - *names*, whole strings that the template mentions (`object`, `name`).

    A whole string is dangerous if it is one of the *words* around which the template can build a control token. Other
    words are left alone, though they may occur in control tokens: the template may compare them.

    Not covered: a template that puts the halves of a control token around a string equal to a name that it
    mentions, or that cuts one of its own markers in two. The cost: a template that looks for a lone `<` does
    not find the caller's.
    """

    def __init__(self, tokens: ControlTokens, source: str, findings: SourceFindings) -> None:
        self.tokens = tokens
        self.source = source
        self._markers = LongestMatch(findings.markers)
        self._names = frozenset(findings.names)
        self._words = frozenset(findings.words)

    def parts(self, text: str) -> Iterator[tuple[str, bool]]:
        """The text cut into parts that may stay as they are (True) and parts that have to be masked (False)."""
        if text.strip() in self._names:
            yield text, True
            return
        start = 0
        for begin, end in self._markers.find(text):
            if begin >= start:
                yield text[start:begin], False
                yield text[begin:end], True
                start = end
        yield text[start:], False

    def dangers(self, text: str) -> Iterator[Range]:
        """Ranges of a part, in each of which a character must be masked.

        Every character in `tokens.keys` must be masked too: templates cut, replace and lowercase text.
        """
        yield from self.tokens.find(text)
        yield from self.tokens.fragments(text)
        word = text.strip()
        if word in self._words:
            start = text.index(word)
            yield start, start + len(word)


def _words(tokens: ControlTokens, source: str) -> Iterator[str]:
    """Words that the template completes to a control token, as in '<' ~ key ~ '>'."""
    heads, tails = set(_heads(tokens, source)), set(_tails(tokens, source))
    for token in tokens.texts:
        starts = [n for n in range(1, len(token)) if token[:n] in heads]
        ends = [n for n in range(1, len(token)) if token[n:] in tails]
        yield from (token[start:end] for start in starts for end in ends if start < end)


def _heads(tokens: ControlTokens, source: str) -> Iterator[str]:
    """Beginnings of control tokens that the template writes right before other text."""
    for seam in SEAM_AFTER.finditer(source):
        text = source[max(0, seam.start() - tokens.longest) : seam.start()]
        yield from (text[n:] for n in range(len(text)) if tokens.begins_one(text[n:]))


def _tails(tokens: ControlTokens, source: str) -> Iterator[str]:
    """Ends of control tokens that it writes right after other text."""
    for seam in SEAM_BEFORE.finditer(source):
        text = source[seam.end() : seam.end() + tokens.longest]
        yield from (text[:n] for n in range(1, len(text) + 1) if tokens.ends_one(text[:n]))
