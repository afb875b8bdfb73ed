"""Finds the longest of many texts at each place of another text."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator

Range = tuple[int, int]
"""The start and the end of a piece of text."""


class LongestMatch:
    """A set of texts to find. They are untrusted: building is linear in their length, searching in the text's.

    A regular expression of all of them takes seconds to compile where there are thousands.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        self._texts = sorted({text for text in texts if text})
        self._longest = max(map(len, self._texts), default=0)
        self._parents = list(_parents(self._texts))
        self._begin = re.compile(_beginnings({text[:2] for text in self._texts}))

    def find(self, text: str) -> Iterator[Range]:
        """The range of the longest at every place where one begins; they may overlap."""
        for match in self._begin.finditer(text):
            start = match.start()
            if end := self._end(text, start):
                yield start, end

    def _end(self, text: str, start: int) -> int | None:
        """Where the longest that begins at `start` ends."""
        part = text[start : start + self._longest]
        # The last one that does not come after `part` begins with the one looked for.
        number = bisect_right(self._texts, part) - 1
        while number >= 0 and not part.startswith(self._texts[number]):
            number = self._parents[number]
        return start + len(self._texts[number]) if number >= 0 else None


def _parents(texts: list[str]) -> Iterator[int]:
    """For each of the sorted texts the number of the longest other one that it begins with, or -1."""
    open_: list[int] = []
    for number, text in enumerate(texts):
        while open_ and not text.startswith(texts[open_[-1]]):
            open_.pop()
        yield open_[-1] if open_ else -1
        open_.append(number)


def _beginnings(pairs: set[str]) -> str:
    """A pattern for every place where one of these texts of one or two characters begins."""
    seconds: dict[str, set[str]] = {}
    for pair in pairs:
        seconds.setdefault(pair[0], set()).add(pair[1:])
    alone = "".join(re.escape(char) for char in sorted(seconds) if "" in seconds[char])
    branches = [f"[{alone}]"] if alone else []
    branches += [
        f"{re.escape(char)}[{''.join(map(re.escape, sorted(next_chars)))}]"
        for char, next_chars in sorted(seconds.items())
        if "" not in next_chars
    ]
    return f"(?={'|'.join(branches)})" if branches else "(?!)"
