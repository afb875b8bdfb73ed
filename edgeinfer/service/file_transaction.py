"""Files that are put in place together, or not at all."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from pathlib import Path

import msgspec

from edgeinfer.errors import ServiceFailed


class ServiceFile(msgspec.Struct, frozen=True):
    """A text file to be written."""

    path: Path
    text: str
    mode: int = 0o644

    def is_there(self) -> bool:
        """Whether it lies there already, as it should be."""
        try:
            mode = stat.S_IMODE(self.path.stat().st_mode)
            return mode == self.mode and self.path.read_text() == self.text
        except (OSError, UnicodeDecodeError):
            return False


class FileTransaction:
    """Writes and removes files, each of them whole or not at all, and can take all of it back."""

    def __init__(self) -> None:
        self._before: list[tuple[Path, bytes | None, int]] = []
        self._folders: list[Path] = []

    def write(self, file: ServiceFile) -> None:
        """Raises ServiceFailed where that is not possible."""
        if file.is_there():
            return
        try:
            self._make_folders(file.path.parent)
            self._remember(file.path)
            replace(file.path, file.text.encode(), file.mode)
        except OSError as e:
            raise cannot("write", file.path, e) from e

    def remove(self, path: Path) -> None:
        """A file that is not there is no error; folders it leaves empty go with it, if they are edgeinfer's."""
        try:
            if path.exists() or path.is_symlink():
                self._remember(path)
                path.unlink()
                if "edgeinfer" in path.parent.name:
                    with contextlib.suppress(OSError):  # it holds something else
                        path.parent.rmdir()
        except OSError as e:
            raise cannot("remove", path, e) from e

    def undo(self) -> None:
        """Put everything back as it was."""
        for path, content, mode in reversed(self._before):
            if content is None:
                path.unlink(missing_ok=True)
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                replace(path, content, mode)
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


def replace(path: Path, content: bytes, mode: int) -> None:
    """Write a file so that at any time, also after a power cut, either the old or the new one is there."""
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


def cannot(what: str, path: Path, error: OSError) -> ServiceFailed:
    """`what`: "write"."""
    hint = "try it with sudo, or with --user" if isinstance(error, PermissionError) else None
    return ServiceFailed(f"cannot {what} {path}: {error.strerror or error}", hint=hint)
