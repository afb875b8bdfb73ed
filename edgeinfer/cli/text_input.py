"""Text files that the user names in a conversation."""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Iterator
from pathlib import Path

from edgeinfer.errors import InvalidRequest

MAX_SIZE = 8 << 20
"""Bytes of a file, far above what a context holds."""


def named_paths(argument: str) -> list[Path]:
    """Return the files that `/file` names: one as it stands, or several as a shell would read them."""
    if os.path.lexists(path := expanded(argument)):
        return [path]
    try:
        return [expanded(word) for word in shlex.split(argument)]
    except ValueError:  # a quote without its counterpart
        return [path]


def read_text(path: Path) -> str:
    """Return the text of a file.

    Raises:
        InvalidRequest: it cannot be read, or holds no text.
    """
    try:
        # A pipe or a device might never end, or block.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as stream:
            if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                raise InvalidRequest(f"{path} is not a file")
            data = stream.read(MAX_SIZE + 1)
    except IsADirectoryError:
        raise InvalidRequest(f"{path} is a folder; name a file in it") from None
    except OSError as e:
        raise InvalidRequest(f"{path}: {e.strerror}") from None
    if len(data) > MAX_SIZE:
        raise InvalidRequest(f"{path} is larger than {MAX_SIZE >> 20} MB, which no context holds")
    try:
        text = data.decode("utf-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise InvalidRequest(f"{path} is not a text file")
    return text


def path_values(typed: str) -> Iterator[str]:
    """Propose paths that begin as what has been typed."""
    folder, _, start = typed.rpartition("/")
    base = expanded(f"{folder}/" if folder or typed.startswith("/") else ".")
    try:
        entries = sorted(os.scandir(base), key=lambda entry: entry.name)
    except OSError:
        return
    prefix = typed[: len(typed) - len(start)]
    for entry in entries:
        if entry.name.startswith(start) and (start or not entry.name.startswith(".")):
            yield f"{prefix}{entry.name}{'/' if entry.is_dir() else ''}"


def expanded(text: str) -> Path:
    """Return a path with its ~ replaced by the home directory."""
    try:
        return Path(text).expanduser()
    except RuntimeError:  # ~ and the name of nobody
        return Path(text)
