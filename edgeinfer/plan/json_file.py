"""Reads and writes values as JSON files."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
from pathlib import Path
from typing import TypeVar

import msgspec

log = logging.getLogger(__name__)

T = TypeVar("T")


def read_json(path: Path, kind: type[T]) -> T | None:
    """Read a value; None if there is no such file, or if it is not of that kind, which a warning then says."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, RecursionError) as e:
        _warn(path, str(e))
        return None


@functools.cache
def _warn(path: Path, problem: str) -> None:
    """Say it once: a page asks the daemon for it again and again."""
    log.warning("%s is not used, as it is damaged: %s", path, problem)


def write_json(path: Path, value: object) -> None:
    """Write `value` to `path`, completely or not at all. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        partial.write_bytes(msgspec.json.format(msgspec.json.encode(value)) + b"\n")
        partial.replace(path)
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()
