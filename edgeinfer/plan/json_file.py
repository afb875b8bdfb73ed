"""Writes a value as a JSON file."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import msgspec


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
