"""Says what does not work on systems of unusual kinds, before anything is installed there."""

from __future__ import annotations

import msgspec

from edgeinfer.hardware import System

NO_GRAMMARS = ("riscv64", "ppc64le", "s390x", "loongarch64")
"""Machines without a build of llguidance, see pyproject.toml."""


class PlatformNote(msgspec.Struct, frozen=True):
    """A restriction of a system, and the way around it."""

    text: str
    fix: str


def platform_notes(system: System) -> list[PlatformNote]:
    """Return the restrictions of a system; none of the usual 64-bit ones has any."""
    notes = []
    if system.is_32_bit:
        text = "the programs of this system are 32-bit: packages that edgeinfer needs are not built for them"
        notes.append(PlatformNote(text, "install the 64-bit system for this board"))
    elif system.machine in NO_GRAMMARS:
        text = (
            f"on {system.machine} there is no llguidance: JSON schemas, tool calls and grammars are refused"
        )
        notes.append(
            PlatformNote(text, "chat and completions work; for the rest use an x86-64 or ARM machine")
        )
    if system.is_musl:
        text = "this system's C library is musl, with which edgeinfer is not tested"
        notes.append(PlatformNote(text, "use a system with glibc, such as Debian, or a container of one"))
    return notes
