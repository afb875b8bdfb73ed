"""What a machine says about itself: texts under its root directory, and outputs of commands.

Nothing in here raises, whatever lies there: a recorded tree may hold anything.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

MOST_BYTES = 4 * 1024**2
"""Of a file that are read; the cpuinfo of 512 CPUs has one MB."""

MOST = 2**53
"""No true size nor count is larger, and JSON can say it."""

MOST_CPUS = 8192
"""Linux's own limit."""

MOST_ENTRIES = 4096
"""Of a directory."""

COMMAND_LIMIT = 20.0
"""Seconds. nvidia-smi wakes the cards one by one, some of them in three."""

LABEL = 120
"""Characters of a name that are kept."""

COMMAND_PATH = ("/usr/sbin", "/sbin", "/usr/lib/wsl/lib")
"""Where commands are beside PATH, which a service's does not hold."""


def read_text(path: Path) -> str | None:
    """The text of a regular file, None where it can't be read."""
    try:
        if not path.is_file():  # a pipe would block
            return None
        with path.open("rb") as file:
            return file.read(MOST_BYTES).decode(errors="replace").strip(" \t\r\n\0")
    except (OSError, ValueError):
        return None


def read_int(path: Path) -> int | None:
    return number(read_text(path))


def read_label(path: Path) -> str | None:
    return label(read_text(path))


def number(text: str | None, unit: int = 1) -> int | None:
    """A natural number of `unit`s, None for what is none or beyond all reason."""
    if text is None or not (text.isascii() and text.isdigit() and len(text) < 20):
        return None
    value = int(text) * unit
    return value if value <= MOST else None


def label(text: str | None) -> str | None:
    """A name that is fit to be shown: one line, printable, not endless. None where nothing is left."""
    words = "".join(c if c.isprintable() else " " for c in text or "").split()
    return " ".join(words)[:LABEL] or None


def read_strings(path: Path) -> tuple[str, ...]:
    """A device tree's list of texts, each ended by a NUL."""
    found = (label(part) for part in (read_text(path) or "").split("\0"))
    return tuple(part for part in found if part)


def read_pairs(path: Path, separator: str) -> dict[str, str]:
    """Lines such as "DRIVER=nvme" or "simd_count 80"."""
    return pairs(read_text(path) or "", separator)


def pairs(text: str, separator: str) -> dict[str, str]:
    found = {}
    for line in text.splitlines():
        name, there, value = line.partition(separator)
        if there:
            found[name.strip()] = value.strip()
    return found


def exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def entries(directory: Path) -> list[Path]:
    """What is in a directory, by name; nothing where it can't be read."""
    try:
        with os.scandir(directory) as found:
            names = [entry.name for entry, _ in zip(found, range(MOST_ENTRIES), strict=False)]
    except (OSError, ValueError):
        return []
    return [directory / name for name in sorted(names)]


def output(root: Path, name: str, *argv: str) -> str | None:
    """What a command prints, None where it isn't there or takes too long.

    Of a recorded tree it is the text of its file commands/NAME.txt.
    """
    if root != Path("/"):
        return read_text(root / "commands" / f"{name}.txt")
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), *COMMAND_PATH))
    program = shutil.which(argv[0], path=path)
    if program is None:
        return None
    try:
        done = subprocess.run(
            [program, *argv[1:]],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "LC_ALL": "C"},
            timeout=COMMAND_LIMIT,
            check=False,
        )
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    return done.stdout[:MOST_BYTES].decode(errors="replace")


def parse_list(text: str | None) -> list[int]:
    """Linux's list format: "0-3,8" is [0, 1, 2, 3, 8]. What is no number is left out."""
    found: list[int] = []
    for part in (text or "").strip().split(","):
        first, _, last = part.partition("-")
        start, end = number(first), number(last or first)
        if start is not None and end is not None:
            found.extend(range(start, min(end, MOST_CPUS) + 1))
        if len(found) > MOST_CPUS:
            break
    return list(dict.fromkeys(found))
