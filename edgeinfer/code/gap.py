"""The gap at a place in a file, and the code that a model would write there."""

from __future__ import annotations

import re

import msgspec

from edgeinfer.code.assistant import Assistant
from edgeinfer.code.code_session import CodeSession
from edgeinfer.code.file_change import file_change
from edgeinfer.code.text_file import TextFile
from edgeinfer.errors import EdgeinferError

MAX_EXTRA = 3
"""Other files that the model sees."""

PLACE = re.compile(r"(?P<path>.+?):(?P<line>\d{1,7})(?::(?P<column>\d{1,7}))?\Z", re.S)


class Place(msgspec.Struct, frozen=True):
    """A place in a file, as editors and compilers write it: FILE:LINE or FILE:LINE:COLUMN, both from 1.

    Attributes:
        column: None is the end of the line.
    """

    path: str
    line: int
    column: int | None = None

    def offset(self, file: TextFile) -> int:
        """Return the number of characters before it. Raises EdgeinferError if the file has no such place."""
        lines = file.text.split("\n")
        if not 1 <= self.line <= len(lines):
            raise EdgeinferError(f"{file.name} has {len(lines)} lines, and not {self.line}")
        line = lines[self.line - 1]
        column = len(line) if self.column is None else self.column - 1
        if not 0 <= column <= len(line):
            raise EdgeinferError(f"line {self.line} of {file.name} has {len(line)} characters")
        return sum(len(before) + 1 for before in lines[: self.line - 1]) + column


def parse_place(text: str) -> Place:
    """Read FILE:LINE[:COLUMN]. Raises EdgeinferError."""
    match = PLACE.match(text)
    if match is None:
        raise EdgeinferError(
            f"{text!r} is no place in a file", hint="edgeinfer code complete FILE:LINE[:COLUMN]"
        )
    column = match["column"]
    return Place(match["path"], int(match["line"]), int(column) if column else None)


class CodeGap:
    """One gap, with what stands before and after it."""

    def __init__(self, session: CodeSession, place: Place) -> None:
        self.session = session
        self.file = session.read_to_change([place.path])[0]
        offset = place.offset(self.file)
        self.prefix, self.suffix = self.file.text[:offset], self.file.text[offset:]

    def text(self, assistant: Assistant, max_tokens: int) -> str:
        """Return what the model would write there."""
        return assistant.infill(self.prefix, self.suffix, self._neighbours(), max_tokens)

    def insert(self, text: str) -> bool:
        """Show the file with the text inserted, ask and write it; tell whether that has happened."""
        if not text:
            self.session.screen.say("the model would write nothing there")
            return False
        return self.session.accept([file_change(self.file, self.prefix + text + self.suffix)])

    def _neighbours(self) -> list[tuple[str, str]]:
        """Return the files that this one names: they define what it uses."""
        words = set(re.findall(r"\w{3,}", self.prefix[-20_000:]))
        ending = self.file.name.rpartition(".")[2]
        others = [
            name
            for name in self.session.workspace.files()
            if name != self.file.name
            and name.endswith(f".{ending}")
            and name.rpartition("/")[2].partition(".")[0] in words
        ]
        return [(name, text) for name in others[:MAX_EXTRA] if (text := self._readable(name))]

    def _readable(self, name: str) -> str:
        try:
            return self.session.workspace.read(name).text
        except EdgeinferError as e:
            self.session.screen.say(f"(not read: {e.message})")
            return ""
