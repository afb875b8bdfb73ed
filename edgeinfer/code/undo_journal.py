"""Remembers what files were before each change, so that it can be taken back."""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path

import msgspec
from msgspec.structs import replace

from edgeinfer.code.atomic_write import signals_wait, write_changes
from edgeinfer.code.beneath import read_beneath
from edgeinfer.code.file_change import FileChange
from edgeinfer.code.visible import visible
from edgeinfer.errors import EdgeinferError
from edgeinfer.user_folders import state_folder

MAX_ENTRIES = 50
"""Changes of a workspace that can be taken back."""

MAX_SIZE = 1 << 30


class UndoJournal:
    """Keeps the changes of one workspace in the user's own folder; nobody else can read them."""

    def __init__(self, root: Path, state: Path | None = None) -> None:
        self.root = root
        name = hashlib.sha256(os.fsencode(root)).hexdigest()[:16]
        self._folder = (state or state_folder()) / "code" / "undo" / name

    def write(self, changes: list[FileChange]) -> None:
        """Write changes as `write_changes` does, so that `undo` can take them back. Raises as it does.

        Ctrl-C waits until that is done.
        """
        with signals_wait():
            entry = self._record(changes)
            try:
                write_changes(self.root, changes)
            except BaseException:
                entry.unlink()
                raise

    def undo(self) -> list[FileChange]:
        """Take back the last change, and return what has been done for that.

        Raises:
            EdgeinferError: there is none, or a file has changed since.
        """
        changes = self._last()
        # A crash while the files were being written has left some of them as they were.
        reversed_changes = [change.reversed() for change in changes if self._now(change) != change.before]
        changed = [c.name for c in reversed_changes if self._now(c) != c.before]
        if changed:
            raise EdgeinferError(
                f"{', '.join(map(visible, changed))} has changed since, and that would be lost",
                hint="to leave the files as they are: edgeinfer code undo --forget",
            )
        with signals_wait():
            write_changes(self.root, reversed_changes)
            self._entries()[-1].unlink()
        return reversed_changes

    def forget(self) -> list[FileChange]:
        """Forget the last change, whose files stay as they are, and return it. Raises EdgeinferError if there is none."""
        changes = self._last()
        self._entries()[-1].unlink()
        return changes

    def _last(self) -> list[FileChange]:
        if entries := self._entries():
            return _decoded(entries[-1])
        raise EdgeinferError("there is nothing to undo here")

    def _record(self, changes: list[FileChange]) -> Path:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        entries = self._entries()
        for entry in entries[: len(entries) - MAX_ENTRIES + 1]:
            entry.unlink()
        number = int(entries[-1].stem) + 1 if entries else 1
        path = self._folder / f"{number:08}.change"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                contents = [replace(change, old_text="", new_text="") for change in changes]
                file.write(msgspec.msgpack.encode(contents))
                file.flush()
                os.fsync(descriptor)
        except OSError:
            path.unlink()
            raise
        return path

    def _entries(self) -> list[Path]:
        return sorted(self._folder.glob("*.change"))

    def _now(self, change: FileChange) -> bytes | None:
        with contextlib.suppress(FileNotFoundError):
            return read_beneath(self.root, change.name, MAX_SIZE)[0]
        return None


def _decoded(entry: Path) -> list[FileChange]:
    try:
        return msgspec.msgpack.decode(entry.read_bytes(), type=list[FileChange])
    except (ValueError, RecursionError) as e:
        # The machine went down while it was being written, and so before the files.
        entry.unlink()
        raise EdgeinferError("the last change was never written", hint="edgeinfer code undo") from e
