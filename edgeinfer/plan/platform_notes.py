"""Says what does not work on systems of unusual kinds.

scripts/setup runs this file by itself before anything is installed, so it needs nothing but Python's library.
"""

from __future__ import annotations

import platform
import shutil
import sys
import sysconfig
from importlib.util import find_spec
from typing import NamedTuple

LLGUIDANCE_GLIBC = {"x86_64": (2, 31), "aarch64": (2, 31), "riscv64": (2, 39)}
"""Machine -> the glibc that llguidance's wheel for it needs. There is none for other machines, nor for musl."""

WITHOUT_LLGUIDANCE = ("riscv64", "ppc64le", "s390x", "loongarch64")
"""Machines on which llguidance is not installed along, see pyproject.toml."""

NEWEST_PYTHON = (3, 14)
"""The newest one that the tests run with, and that all packages have wheels for."""

RUST = "curl https://sh.rustup.rs -sSf | sh"

Version = tuple[int, int]


class PlatformNote(NamedTuple):
    """A restriction of a system, and the way around it; `fatal`: the installation would fail."""

    text: str
    fix: str
    fatal: bool = False


class Platform(NamedTuple):
    """What the notes depend on.

    Attributes:
        machine: as `uname -m` has it; None where unknown.
        glibc: version of the C library; None if it is another one, or unknown.
        python: None for a machine that this is not.
        has_llguidance: it is installed.
        has_rust: what has no wheel can be compiled, if it is written in Rust.
    """

    machine: str | None
    is_32_bit: bool = False
    is_musl: bool = False
    glibc: Version | None = None
    python: Version | None = None
    has_llguidance: bool = False
    has_rust: bool = False


def this_platform() -> Platform:
    """Return the facts of the Python that runs this."""
    return Platform(
        machine=platform.machine(),
        is_32_bit=sys.maxsize < 2**32,
        is_musl="musl" in str(sysconfig.get_config_var("SOABI")),
        glibc=glibc_version(platform.libc_ver()[1]),
        python=sys.version_info[:2],
        has_llguidance=find_spec("llguidance") is not None,
        has_rust=shutil.which("cargo") is not None,
    )


def glibc_version(text: str | None) -> Version | None:
    """Read a version such as "2.36"; None if it is none."""
    numbers = (text or "").split(".")
    if len(numbers) < 2 or not all(number.isascii() and number.isdecimal() for number in numbers[:2]):
        return None
    return int(numbers[0]), int(numbers[1])


def platform_notes(this: Platform) -> list[PlatformNote]:
    """Return the restrictions of a system; none of the usual 64-bit ones has any."""
    if this.is_32_bit:
        text = "the programs of this system are 32-bit: numpy, msgspec, llguidance and others have no wheels for it"
        fix = "install the 64-bit system for this board; a Raspberry Pi 3, Zero 2 or newer runs it"
        return [PlatformNote(text, fix, fatal=True)]
    notes = [_llguidance(this), _untested(this), _python(this)]
    return [note for note in notes if note]


def _llguidance(this: Platform) -> PlatformNote | None:
    if this.has_llguidance or this.machine is None:
        return None
    if this.machine in WITHOUT_LLGUIDANCE:
        needed = LLGUIDANCE_GLIBC.get(this.machine)
        has_wheel = needed is not None and this.glibc is not None and this.glibc >= needed
        cost = "there is a wheel" if has_wheel else f"it is compiled by Rust: {RUST}"
        text = f"on {this.machine} llguidance is not installed along: without it JSON schemas, tool calls and grammars are refused"
        return PlatformNote(text, f"pip install llguidance in edgeinfer's environment; {cost}")
    needed = LLGUIDANCE_GLIBC.get(this.machine)
    if this.is_musl:
        text = "llguidance, which edgeinfer needs, has no wheel for musl, and is compiled by Rust"
        return PlatformNote(
            text, "apk add cargo, or use a system or a container with glibc", not this.has_rust
        )
    if needed and this.glibc and this.glibc < needed:
        text = (
            f"llguidance, which edgeinfer needs, has no wheel for glibc {_shown(this.glibc)}, only from "
            f"{_shown(needed)} on, and is compiled by Rust"
        )
        fix = f"upgrade the system to Debian 11, Ubuntu 20.04 or newer; or install Rust: {RUST}"
        return PlatformNote(text, fix, not this.has_rust)
    return None


def _untested(this: Platform) -> PlatformNote | None:
    if this.is_musl:
        text = "this system's C library is musl, with which edgeinfer is not tested"
        return PlatformNote(text, "use a system with glibc, such as Debian, or a container of one")
    if this.machine in WITHOUT_LLGUIDANCE:
        text = f"edgeinfer is not tested on {this.machine}, and numpy and psutil have no wheels for it: they are compiled"
        return PlatformNote(
            text,
            "install a C and C++ compiler and Python's headers: sudo apt install build-essential python3-dev",
        )
    return None


def _python(this: Platform) -> PlatformNote | None:
    if this.python is None or this.python <= NEWEST_PYTHON:
        return None
    text = f"edgeinfer is not tested with Python {_shown(this.python)}, and some packages may have no wheels for it"
    newest = _shown(NEWEST_PYTHON)
    return PlatformNote(text, f"use an older one that is installed: PYTHON=python{newest} scripts/setup")


def _shown(version: Version) -> str:
    return f"{version[0]}.{version[1]}"


def main() -> int:
    """Print the notes of this system; the exit status is 1 if nothing can be installed."""
    notes = platform_notes(this_platform())
    for note in notes:
        sys.stderr.write(f"{'error' if note.fatal else 'note'}: {note.text}\nhint: {note.fix}\n")
    return any(note.fatal for note in notes)


if __name__ == "__main__":
    sys.exit(main())
