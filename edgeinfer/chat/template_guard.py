"""Finds the parts of a caller's text that a template could turn into a control token."""

from __future__ import annotations

import re
from collections.abc import Iterator

from edgeinfer.chat.control_tokens import ControlTokens, Range

QUOTED = re.compile(r"""(?=(["'])([^"'\n]{2,64})\1)""")
"""Text between two quotes: the template's string literals, and harmless text between two of them."""

NAME = re.compile(r"""(?<=\.)\w+|(?<=["'])\w+(?=["'.])""")
"""A word after a dot or in quotes: names of fields and values that the template compares."""

SEAM_AFTER = re.compile(r"""["']|\s*\{|%""")
"""Follows the template's own text where it inserts other text."""

SEAM_BEFORE = re.compile(r"""["']|\}\s*|%s""")
"""Precedes the template's own text where it inserts other text."""


class TemplateGuard:
    """Judges callers' text for one model and one template.

    Templates branch on the text they get: on whether it contains `</think>`, on whether a type is "object". So
    two things stay as they are, although they could be parts of control tokens:

    - *markers*, literals of the template which no control token can overlap (`</think>`, `<tool_response>`);
    - *names*, whole strings that the template mentions (`object`, `name`).

    Not covered: a template that puts the halves of a control token around a string equal to a name that it
    mentions, or that cuts one of its own markers in two. The cost: a template that looks for a lone `<` does
    not find the caller's.
    """

    def __init__(self, tokens: ControlTokens, source: str) -> None:
        self.tokens = tokens
        self.source = source
        literals = {match[2].replace("\\n", "\n") for match in QUOTED.finditer(source)}
        markers = {text for text in literals if tokens.keys & set(text) and not tokens.touches(text)}
        longest_first = sorted(markers, key=lambda text: (-len(text), text))
        self._markers = re.compile("|".join(map(re.escape, longest_first)) or "(?!)")
        self._names = frozenset(word for word in NAME.findall(source) if not any(tokens.find(word)))
        self._heads, self._tails = frozenset(_heads(tokens, source)), frozenset(_tails(tokens, source))

    def parts(self, text: str) -> Iterator[tuple[str, bool]]:
        """The text cut into parts that may stay as they are (True) and parts that have to be masked (False)."""
        if text.strip() in self._names:
            yield text, True
            return
        start = 0
        for marker in self._markers.finditer(text):
            yield text[start : marker.start()], False
            yield marker[0], True
            start = marker.end()
        yield text[start:], False

    def dangers(self, text: str) -> Iterator[Range]:
        """Ranges of a part, in each of which a character must be masked.

        Every character in `tokens.keys` must be masked too: templates cut, replace and lowercase text.
        """
        yield from self.tokens.find(text)
        yield from self.tokens.fragments(text)
        word = text.strip()
        if self._builds(word):
            start = text.index(word)
            yield start, start + len(word)

    def _builds(self, word: str) -> bool:
        """True if the template could build a control token around the word, as in '<' ~ key ~ '>'.

        Other words are left alone: the template may compare them.
        """
        if not (self._heads and self._tails):
            return False
        return any(head in self._heads and tail in self._tails for head, tail in self.tokens.around(word))


def _heads(tokens: ControlTokens, source: str) -> Iterator[str]:
    """Beginnings of control tokens that the template writes right before other text."""
    for seam in SEAM_AFTER.finditer(source):
        text = source[max(0, seam.start() - tokens.longest) : seam.start()]
        yield from (text[n:] for n in range(len(text)) if tokens.begins_one(text[n:]))


def _tails(tokens: ControlTokens, source: str) -> Iterator[str]:
    """Ends of control tokens that the template writes right after other text."""
    for seam in SEAM_BEFORE.finditer(source):
        text = source[seam.end() : seam.end() + tokens.longest]
        yield from (text[:n] for n in range(1, len(text) + 1) if tokens.ends_one(text[:n]))
