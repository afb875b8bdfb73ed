"""A change of one file, and how it is shown before it is made."""

from __future__ import annotations

import difflib
from collections.abc import Iterator

import msgspec

from edgeinfer.code.text_file import TextFile
from edgeinfer.code.visible import visible

NO_NEWLINE = "\\ No newline at end of file"


class FileChange(msgspec.Struct, frozen=True):
    """A file's content before and after.

    Attributes:
        before, after: None if the file does not exist then.
        old_text, new_text: the same as text, for the diff.
    """

    name: str
    before: bytes | None
    after: bytes | None
    old_text: str = ""
    new_text: str = ""

    def reversed(self) -> FileChange:
        """Return the change that takes this one back."""
        return FileChange(self.name, self.after, self.before, self.new_text, self.old_text)

    def diff(self) -> Iterator[str]:
        """Yield the lines of a unified diff; characters that would not be seen are spelt out."""
        old, new = _lines(self.old_text), _lines(self.new_text)
        origin = "/dev/null" if self.before is None else f"a/{self.name}"
        target = "/dev/null" if self.after is None else f"b/{self.name}"
        for line in difflib.unified_diff(old, new, origin, target):
            yield visible(line.removesuffix("\n"))
            if not line.endswith("\n"):
                yield NO_NEWLINE


def file_change(file: TextFile, new_text: str) -> FileChange:
    """Return the change of a file's text. Raises EdgeinferError if its encoding lacks a character."""
    return FileChange(file.name, file.data, file.encode(new_text), file.text, new_text)


def _lines(text: str) -> list[str]:
    """Split after newlines only."""
    *lines, last = text.split("\n")
    return [f"{line}\n" for line in lines] + ([last] if last else [])
