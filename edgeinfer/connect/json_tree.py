"""Reads JSON with comments and trailing commas, as editors write it, and keeps where each value stands."""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec

from edgeinfer.errors import EdgeinferError

MAX_DEPTH = 64
SPACE = re.compile(r"(?:[ \t\r\n]+|//[^\r\n]*|/\*(?:[^*]|\*(?!/))*\*/)*")
STRING = re.compile(r'"(?:[^"\\\x00-\x1f]|\\.)*"')
SCALAR = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?(?![\w.])|(?:true|false|null)(?!\w)")


class Node(msgspec.Struct):
    """A value: `text[start:end]`.

    Attributes:
        value: what it means; for objects and arrays that of all they hold.
        entries: what an object or an array holds, in order.
        trailing_comma: where a comma after the last entry ends; None if there is none.
    """

    start: int
    end: int
    value: Any
    entries: list[Entry] = []
    trailing_comma: int | None = None

    def member(self, key: str) -> Node | None:
        """Return an object's member; of two with one name the last counts."""
        return next((entry.node for entry in reversed(self.entries) if entry.key == key), None)


class Entry(msgspec.Struct):
    """A member of an object, which begins with its key, or an item of an array, whose key is None."""

    start: int
    key: str | None
    node: Node


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def value(self, depth: int = 0) -> Node:
        if depth > MAX_DEPTH:
            raise self.error("is nested too deeply")
        start = self.at
        character = self.text[start : start + 1]
        if character and character in "{[":
            return self._entries(start, "}" if character == "{" else "]", depth)
        if character == '"':
            value = self._string()
        elif match := SCALAR.match(self.text, start):
            self.at = match.end()
            value = json.loads(match[0])
        else:
            raise self.error("has something that is no JSON")
        return Node(start, self.at, value)

    def _entries(self, start: int, closing: str, depth: int) -> Node:
        node = Node(start, start, {} if closing == "}" else [], [])
        self.at += 1
        while True:
            self.space()
            if self.text.startswith(closing, self.at):
                self.at += 1
                node.end = self.at
                return node
            if node.entries and node.trailing_comma is None:
                raise self.error("lacks a comma")
            entry = self._entry(closing == "}", depth)
            node.entries.append(entry)
            if entry.key is None:
                node.value.append(entry.node.value)
            else:
                node.value[entry.key] = entry.node.value
            self.space()
            node.trailing_comma = None
            if self.text.startswith(",", self.at):
                self.at += 1
                node.trailing_comma = self.at

    def _entry(self, named: bool, depth: int) -> Entry:
        start, key = self.at, None
        if named:
            key = self._string()
            self.space()
            if not self.text.startswith(":", self.at):
                raise self.error("lacks a colon")
            self.at += 1
            self.space()
        return Entry(start, key, self.value(depth + 1))

    def _string(self) -> str:
        match = STRING.match(self.text, self.at)
        if match is None:
            raise self.error("has a text without its quotation marks")
        try:
            value: str = json.loads(match[0])
        except ValueError:
            raise self.error("has a text that is no JSON") from None
        self.at = match.end()
        return value

    def space(self) -> None:
        match = SPACE.match(self.text, self.at)
        assert match  # it matches nothing, too
        self.at = match.end()

    def error(self, what: str) -> EdgeinferError:
        if self.at == len(self.text):
            return EdgeinferError("the file ends before the JSON does")
        return EdgeinferError(f"line {self.text.count(chr(10), 0, self.at) + 1} {what}")


def parse(text: str) -> Node | None:
    """Return the value of a whole file; None if it has nothing but comments.

    Raises:
        EdgeinferError: it is not JSON; the message begins with the line.
    """
    parser = _Parser(text)
    parser.space()
    if parser.at == len(text):
        return None
    node = parser.value()
    parser.space()
    if parser.at < len(text):
        raise parser.error("has something after the end of the JSON")
    return node
