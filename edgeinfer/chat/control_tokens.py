"""Finds a model's control tokens in text, whole or in part."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import pairwise

PLAIN = re.compile(r"""\w+|["\\\s\x00-\x1f]+""")
"""Words, and the characters that JSON must be left to escape."""

Range = tuple[int, int]
"""The start and the end of a piece of text."""


class ControlTokens:
    """A model's control tokens, indexed for searching.

    Attributes:
        chars: every character that occurs in one, sorted.
        longest: the length of the longest.
        keys: a few punctuation characters, at least one for each token that has any. Text without them cannot
            turn into a control token, however it is cut, joined or lowercased.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        tokens = sorted({text for text in texts if text})
        self.chars = "".join(sorted(set("".join(tokens))))
        self.keys = frozenset(_keys(tokens))
        self.longest = max(map(len, tokens), default=0)
        self._all = "\0".join(tokens)
        self._pairs = frozenset(token[n : n + 2] for token in tokens for n in range(len(token) - 1))
        self._forward = tokens
        self._backward = sorted(text[::-1] for text in tokens)
        self._first = frozenset(text[0] for text in tokens)
        self._last = frozenset(text[-1] for text in tokens)
        self._pattern = re.compile(_alternatives(tokens))

    def find(self, text: str) -> Iterator[Range]:
        """The range of the longest control token at every place where one begins."""
        start = 0
        while match := self._pattern.search(text, start):
            yield match.span()
            start = match.start() + 1  # they may overlap

    def fragments(self, text: str) -> Iterator[Range]:
        """Pieces that text before or after `text` could complete to a control token.

        White space around `text` is ignored: templates trim it. Plain text that occurs in the middle of a token
        is left out, see `around`.
        """
        start = len(text) - len(text.lstrip())
        end = len(text.rstrip())
        for begin, stop in {(start, end), (0, len(text))}:
            yield from self._fragments(text, begin, stop)

    def _fragments(self, text: str, start: int, end: int) -> Iterator[Range]:
        inside = self._inside(text[start : min(end, start + self.longest)])
        if inside and not PLAIN.fullmatch(text, start, end):
            yield start, end
        for n in range(1, min(self.longest, end - start + 1)):
            if text[end - n] in self._first and self.begins_one(text[end - n : end]):
                yield end - n, end
            if text[start + n - 1] in self._last and self.ends_one(text[start : start + n]):
                yield start, start + n

    def begins_one(self, text: str) -> bool:
        """True if a control token begins with `text`."""
        return _begins(self._forward, text)

    def ends_one(self, text: str) -> bool:
        """True if a control token ends with `text`."""
        return _begins(self._backward, text[::-1])

    def around(self, text: str) -> Iterator[tuple[str, str]]:
        """The text before and after `text` in the control tokens that have it in their middle."""
        if self._inside(text):
            for token in self._forward:
                if text in token[1:-1]:
                    places = re.finditer(f"(?={re.escape(text)})", token)
                    yield from ((token[: m.start()], token[m.start() + len(text) :]) for m in places)

    def _inside(self, text: str) -> bool:
        if not 0 < len(text) < self.longest:
            return False
        return self._pairs.issuperset(map("".join, pairwise(text))) and text in self._all

    def touches(self, text: str) -> bool:
        """True if a control token could overlap `text`, lie within it, or contain it."""
        if any(self.find(text)) or self._inside(text):
            return True
        return any(self._fragments(text, 0, len(text)))


def _begins(tokens: list[str], text: str) -> bool:
    """True if one of the sorted tokens begins with `text`."""
    place = bisect_left(tokens, text)
    return place < len(tokens) and tokens[place].startswith(text)


def _keys(tokens: list[str]) -> Iterator[str]:
    """A small hitting set, chosen greedily. Letters, digits, quotes and spaces have too many other uses."""
    left = [marks for token in tokens if (marks := re.sub(r"""[\w\s"'\\]""", "", token))]
    while left:
        counts = Counter(char for marks in left for char in dict.fromkeys(marks))
        ((key, _),) = counts.most_common(1)
        yield key
        left = [marks for marks in left if key not in marks]


def _alternatives(tokens: list[str]) -> str:
    """A pattern for the longest of the sorted tokens, factored by common prefixes: there may be thousands."""
    if not tokens:
        return "(?!)"
    branches = []
    rest = [token for token in tokens if token]
    while rest:
        char = rest[0][0]
        size = next((n for n, token in enumerate(rest) if token[0] != char), len(rest))
        branches.append(re.escape(char) + _alternatives([token[1:] for token in rest[:size]]))
        rest = rest[size:]
    if not branches:
        return ""
    optional = "?" if "" in tokens else ""
    return f"(?:{'|'.join(branches)}){optional}"
