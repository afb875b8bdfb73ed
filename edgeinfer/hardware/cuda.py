"""Detects the CUDA toolkit, which llama.cpp is built with."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

import msgspec

from edgeinfer.hardware.root_files import output, read_text

HOME = "usr/local/cuda"

JETPACK = {"32": "10.2", "34": "11.4", "35": "11.4", "36": "12.2", "38": "13.0"}
"""First number of a Jetson's L4T release -> the CUDA that belongs to it."""

VERSION = re.compile(r"\b(\d{1,3}\.\d{1,3})\b", re.ASCII)


class _Component(msgspec.Struct):
    version: str


class _VersionFile(msgspec.Struct):
    cuda: _Component


def toolkit(root: Path, l4t: str | None = None) -> str | None:
    """Return the toolkit's version, such as "12.4"; None if there is none.

    Args:
        l4t: a Jetson's release, which tells it where the toolkit itself does not.
    """
    with contextlib.suppress(msgspec.DecodeError):
        text = read_text(root / HOME / "version.json") or ""
        return _version(msgspec.json.decode(text, type=_VersionFile).cuda.version)
    text = read_text(root / HOME / "version.txt") or ""
    if not text:
        release = re.search(r"release (\d+\.\d+)", output(root, "nvcc", "nvcc", "--version") or "", re.ASCII)
        text = release.group(1) if release else JETPACK.get((l4t or "").partition(".")[0], "")
    return _version(text)


def _version(text: str) -> str | None:
    match = VERSION.search(text)
    return match.group(1) if match else None
