"""Writes and removes several files together, or not at all."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from pathlib import Path

import msgspec

from edgeinfer.errors import ServiceFailed


class ServiceFile(msgspec.Struct, frozen=True):
    """A text file of the service."""

    path: Path
    text: str
    mode: int = 0o644

    def is_current(self) -> bool:
        """Tell whether the file exists with this text and mode."""
        try:
            mode = stat.S_IMODE(self.path.stat().st_mode)
            return mode == self.mode and self.path.read_text() == self.text
        except (OSError, UnicodeDecodeError):
            return False


class FileTransaction:
    """Writes and removes files atomically, and can undo all of it."""

    def __init__(self) -> None:
        self._before: list[tuple[Path, bytes | None, int]] = []
        self._folders: list[Path] = []

    def write(self, file: ServiceFile) -> None:
        """Write a file.

        Raises:
            ServiceFailed: it cannot be written.
        """
        if file.is_current():
            return
        try:
            self._make_folders(file.path.parent)
            self._remember(file.path)
            write_atomically(file.path, file.text.encode(), file.mode)
        except OSError as e:
            raise file_error("write", file.path, e) from e

    def remove(self, path: Path) -> None:
        """Remove a file if it exists, and its folder if that is edgeinfer's own and now empty."""
        try:
            if path.exists() or path.is_symlink():
                self._remember(path)
                path.unlink()
                if "edgeinfer" in path.parent.name:
                    with contextlib.suppress(OSError):  # it is not empty
                        path.parent.rmdir()
        except OSError as e:
            raise file_error("remove", path, e) from e

    def undo(self) -> None:
        """Restore everything as it was."""
        for path, content, mode in reversed(self._before):
            if content is None:
                path.unlink(missing_ok=True)
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                write_atomically(path, content, mode)
        for folder in reversed(self._folders):
            with contextlib.suppress(OSError):
                folder.rmdir()
        self._before.clear()
        self._folders.clear()

    def _make_folders(self, folder: Path) -> None:
        missing = [path for path in (folder, *folder.parents) if not path.exists()]
        for path in reversed(missing):
            path.mkdir()
            self._folders.append(path)

    def _remember(self, path: Path) -> None:
        try:
            self._before.append((path, path.read_bytes(), stat.S_IMODE(path.stat().st_mode)))
        except FileNotFoundError:
            self._before.append((path, None, 0))


def write_atomically(path: Path, content: bytes, mode: int) -> None:
    """Write a file so that even after a power failure either the old or the new one exists."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, mode)
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def file_error(action: str, path: Path, error: OSError) -> ServiceFailed:
    """Return the error for an action such as "write"."""
    hint = "use sudo, or --user" if isinstance(error, PermissionError) else None
    return ServiceFailed(f"cannot {action} {path}: {error.strerror or error}", hint=hint)
