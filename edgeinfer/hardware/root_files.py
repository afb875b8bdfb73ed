"""Reads texts under a machine's root directory, and outputs of commands.

Nothing here raises, as a recorded tree may contain anything.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from edgeinfer.ipc.environment import child_environment

MAX_BYTES = 4 * 1024**2
"""Bytes of a file that are read; the cpuinfo of 512 CPUs has one MB."""

MAX_NUMBER = 2**53
"""No real size or count is larger, and JSON can represent it."""

MAX_CPUS = 8192
"""Linux's own limit."""

MAX_ENTRIES = 4096
"""Entries of a directory that are read."""

COMMAND_TIMEOUT = 20.0
"""Seconds. nvidia-smi wakes the cards one by one, and some take three seconds."""

MAX_LABEL = 120
"""Characters of a name."""

COMMAND_PATH = ("/usr/sbin", "/sbin", "/usr/lib/wsl/lib")
"""Directories of commands that a service does not have in its PATH."""


def read_text(path: Path) -> str | None:
    """Return the text of a regular file; None if it cannot be read."""
    try:
        if not path.is_file():  # a pipe would block
            return None
        with path.open("rb") as file:
            return file.read(MAX_BYTES).decode(errors="replace").strip(" \t\r\n\0")
    except (OSError, ValueError):
        return None


def read_int(path: Path) -> int | None:
    return number(read_text(path))


def read_label(path: Path) -> str | None:
    return label(read_text(path))


def number(text: str | None, unit: int = 1) -> int | None:
    """Parse a natural number of `unit`s; None if it is not one, or implausibly large."""
    if text is None or not (text.isascii() and text.isdigit() and len(text) < 20):
        return None
    value = int(text) * unit
    return value if value <= MAX_NUMBER else None


def label(text: str | None) -> str | None:
    """Return a name in one short, printable line; None if nothing is left of it."""
    words = "".join(c if c.isprintable() else " " for c in text or "").split()
    return " ".join(words)[:MAX_LABEL] or None


def read_strings(path: Path) -> tuple[str, ...]:
    """Read a device tree's list of texts, each ended by a NUL."""
    labels = (label(part) for part in (read_text(path) or "").split("\0"))
    return tuple(part for part in labels if part)


def read_pairs(path: Path, separator: str) -> dict[str, str]:
    """Read lines such as "DRIVER=nvme" or "simd_count 80"."""
    return pairs(read_text(path) or "", separator)


def pairs(text: str, separator: str) -> dict[str, str]:
    values = {}
    for line in text.splitlines():
        name, is_pair, value = line.partition(separator)
        if is_pair:
            values[name.strip()] = value.strip()
    return values


def exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def entries(directory: Path) -> list[Path]:
    """Return the entries of a directory by name; none if it cannot be read."""
    try:
        with os.scandir(directory) as scan:
            names = [entry.name for entry, _ in zip(scan, range(MAX_ENTRIES), strict=False)]
    except (OSError, ValueError):
        return []
    return [directory / name for name in sorted(names)]


def output(root: Path, name: str, *argv: str) -> str | None:
    """Return what a command prints; None if it does not exist or takes too long.

    In a recorded tree, it is the text of commands/NAME.txt.
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
            env=child_environment(llama=True) | {"PATH": path, "LC_ALL": "C"},
            timeout=COMMAND_TIMEOUT,
            check=False,
        )
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    return done.stdout[:MAX_BYTES].decode(errors="replace")


def parse_list(text: str | None) -> list[int]:
    """Parse Linux's list format: "0-3,8" is [0, 1, 2, 3, 8]. Anything else is left out."""
    numbers: list[int] = []
    for part in (text or "").strip().split(","):
        first, _, last = part.partition("-")
        start, end = number(first), number(last or first)
        if start is not None and end is not None:
            numbers.extend(range(start, min(end, MAX_CPUS) + 1))
        if len(numbers) > MAX_CPUS:
            break
    return list(dict.fromkeys(numbers))
