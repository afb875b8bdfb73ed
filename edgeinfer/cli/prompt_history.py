"""The prompts of earlier conversations, in a file that only its user can read."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from prompt_toolkit.history import FileHistory, History, InMemoryHistory

MAX_SIZE = 1 << 20
"""Bytes of the file from which on its older half is dropped, when it is next opened."""

SEPARATOR = b"\n# edgeinfer\n"


def open_history(file: Path | None) -> History:
    """Return the history that is in a file; without a file, one that ends with the program."""
    return PrivateHistory(file) if file else InMemoryHistory()


class PrivateHistory(FileHistory):
    """Keeps prompts in a file, but for those that begin with a space, as shells do.

    A file that cannot be read or written leaves a history that ends with the program.
    """

    def __init__(self, file: Path) -> None:
        super().__init__(file)
        self._file = file
        with suppress(OSError):
            file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._open().close()
            file.chmod(0o600)
            self._shorten()

    def load_history_strings(self) -> list[str]:
        try:
            return list(super().load_history_strings())
        except OSError:
            return []

    def store_string(self, string: str) -> None:
        if string.startswith(" "):
            return
        lines = "".join(f"+{line}\n" for line in string.split("\n"))
        with suppress(OSError), self._open() as stream:
            stream.write(SEPARATOR + lines.encode("utf-8", "replace"))

    def _open(self) -> BinaryIO:
        return os.fdopen(os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab")

    def _shorten(self) -> None:
        content = self._file.read_bytes()
        if len(content) > MAX_SIZE:
            _, separator, newer = content[len(content) // 2 :].partition(SEPARATOR)
            self._file.write_bytes(separator + newer)
