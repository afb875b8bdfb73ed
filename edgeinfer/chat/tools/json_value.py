"""Finds the end of a JSON value while it arrives."""

from __future__ import annotations

import re

STRUCTURE = re.compile(r'["{}\[\]]')
STRING = re.compile(r'["\\]')
SCALAR = re.compile(r"[\w.+-]*")


class JsonValue:
    """A value whose text is fed piece by piece from its first character on. It is taken to be JSON, unchecked."""

    def __init__(self) -> None:
        self.ended = False
        self._depth = 0
        self._string = False
        self._escaped = False
        self._scalar = False

    def take(self, text: str) -> int:
        """The number of characters at the beginning of `text` that belong to the value."""
        at = 0
        while at < len(text) and not self.ended:
            at = self._step(text, at)
        return at

    def _step(self, text: str, at: int) -> int:
        if self._escaped:
            self._escaped = False
            return at + 1
        if self._string:
            return self._in_string(text, at)
        if self._depth == 0 and (self._scalar or text[at] not in '"{['):
            return self._in_scalar(text, at)
        match = STRUCTURE.search(text, at)
        if match is None:
            return len(text)
        if match[0] == '"':
            self._string = True
        else:
            self._depth += 1 if match[0] in "{[" else -1
            self.ended = self._depth == 0
        return match.end()

    def _in_string(self, text: str, at: int) -> int:
        match = STRING.search(text, at)
        if match is None:
            return len(text)
        if match[0] == "\\":
            self._escaped = True
        else:
            self._string = False
            self.ended = self._depth == 0
        return match.end()

    def _in_scalar(self, text: str, at: int) -> int:
        """A number or a word ends before the first character that can be part of neither."""
        self._scalar = True
        match = SCALAR.match(text, at)
        end = match.end() if match else at
        self.ended = end < len(text)
        return end
