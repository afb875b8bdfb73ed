"""Reads and writes the configuration files of other programs with care."""

from __future__ import annotations

import codecs
import contextlib
import os
import stat
import tempfile
from pathlib import Path

import msgspec

from edgeinfer.errors import EdgeinferError

MAX_SIZE = 4 << 20
NEW_MODE = 0o600


class ConfigFile(msgspec.Struct, frozen=True):
    """A file as it was read; `data` is None if there is none."""

    path: Path
    data: bytes | None
    mode: int = NEW_MODE

    @property
    def text(self) -> str:
        """The content without a byte order mark. Raises EdgeinferError if it is not UTF-8."""
        data = (self.data or b"").removeprefix(codecs.BOM_UTF8)
        try:
            return data.decode()
        except UnicodeDecodeError as e:
            raise EdgeinferError(f"{self.path} is not in UTF-8") from e

    def encoded(self, text: str) -> bytes:
        """Return a new content, with a byte order mark if there is one now."""
        mark = codecs.BOM_UTF8 if (self.data or b"").startswith(codecs.BOM_UTF8) else b""
        return mark + text.encode()


def followed(path: Path) -> Path:
    """Return the file that a link of the user's own leads to, as where dotfiles are kept in a repository; else `path`.

    The link stays, and the file behind it is changed.
    """
    if not path.is_symlink() or path.lstat().st_uid != os.geteuid():
        return path
    try:
        target = path.resolve(strict=True)
    except (OSError, RuntimeError) as e:
        raise EdgeinferError(
            f"{path} is a link to nothing", hint=f"make the file, or remove the link: {path}"
        ) from e
    return target


def read(path: Path) -> ConfigFile:
    """Read a file. Raises EdgeinferError if it is a link, no plain file, somebody else's, or too large."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return ConfigFile(path, None)
    except OSError as e:
        what = "is a link" if path.is_symlink() else f"cannot be read: {e.strerror}"
        raise EdgeinferError(f"{path} {what}") from e
    facts = os.fstat(descriptor)
    if not stat.S_ISREG(facts.st_mode):
        os.close(descriptor)
        raise EdgeinferError(f"{path} is no plain file")
    if facts.st_uid != os.geteuid():
        os.close(descriptor)
        raise EdgeinferError(f"{path} belongs to another user", hint="run the command as that user")
    with os.fdopen(descriptor, "rb") as file:
        data = file.read(MAX_SIZE + 1)
    if len(data) > MAX_SIZE:
        raise EdgeinferError(f"{path} has more than {MAX_SIZE >> 20} MB")
    return ConfigFile(path, data, stat.S_IMODE(facts.st_mode))


def write(path: Path, data: bytes, mode: int = NEW_MODE) -> None:
    """Write a whole file or nothing. Raises EdgeinferError if that fails."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fchmod(descriptor, mode)
                os.fsync(descriptor)
            Path(name).replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                Path(name).unlink()
            raise
    except OSError as e:
        raise EdgeinferError(f"{path} cannot be written: {e.strerror}") from e
