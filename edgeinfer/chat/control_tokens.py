"""Finds a model's control tokens in text, whole or in part."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from itertools import pairwise

from edgeinfer.chat.longest_match import LongestMatch, Range

PLAIN = re.compile(r"""\w+|["\\\s\x00-\x1f]+""")
"""Words, and the characters that JSON must be left to escape."""

MAX_SEARCHED = 1 << 17
"""Characters of all tokens together beyond which a text that looks like a part of one is taken for one."""


class ControlTokens:
    """A model's control tokens, indexed for searching.

    Attributes:
        texts: the tokens, sorted.
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
        self.texts = tokens
        self._backward = sorted(text[::-1] for text in tokens)
        self._first = frozenset(text[0] for text in tokens)
        self._last = frozenset(text[-1] for text in tokens)
        self._matches = LongestMatch(tokens)

    def find(self, text: str) -> Iterator[Range]:
        """The range of the longest control token at every place where one begins."""
        return self._matches.find(text)

    def fragments(self, text: str) -> Iterator[Range]:
        """Pieces that text before or after `text` could complete to a control token.

        White space around `text` is ignored: templates trim it. Plain text that occurs in the middle of a token
        is left out: see `TemplateGuard`.
        """
        start = len(text) - len(text.lstrip())
        end = len(text.rstrip())
        for begin, stop in {(start, end), (0, len(text))}:
            yield from self._fragments(text, begin, stop)

    def _fragments(self, text: str, start: int, end: int) -> Iterator[Range]:
        part = text[start : min(end, start + self.longest)]
        if not PLAIN.fullmatch(text, start, end) and self._inside(part):
            yield start, end
        for n in range(1, min(self.longest, end - start + 1)):
            if text[end - n] in self._first and self.begins_one(text[end - n : end]):
                yield end - n, end
            if text[start + n - 1] in self._last and self.ends_one(text[start : start + n]):
                yield start, start + n

    def begins_one(self, text: str) -> bool:
        """True if a control token begins with `text`."""
        return _begins(self.texts, text)

    def ends_one(self, text: str) -> bool:
        """True if a control token ends with `text`."""
        return _begins(self._backward, text[::-1])

    def _inside(self, text: str) -> bool:
        if not 0 < len(text) < self.longest:
            return False
        likely = self._pairs.issuperset(map("".join, pairwise(text)))
        return likely and (len(self._all) > MAX_SEARCHED or text in self._all)

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
    marks = [dict.fromkeys(re.sub(r"""[\w\s"'\\]""", "", token)) for token in tokens]
    users: dict[str, list[int]] = {}
    for n, chars in enumerate(marks):
        for char in chars:
            users.setdefault(char, []).append(n)
    counts = {char: len(numbers) for char, numbers in users.items()}
    left = {n for n, chars in enumerate(marks) if chars}
    while left:
        key = max(counts, key=counts.__getitem__)
        yield key
        for n in left.intersection(users[key]):
            left.discard(n)
            for char in marks[n]:
                counts[char] -= 1
