"""Holds what llama.cpp was built for against what the CPU has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from edgeinfer.hardware import CpuClass, LlamaBuild

USEFUL = ("avx", "avx2", "fma", "f16c", "avx512", "vnni", "avx-vnni", "amx", "dotprod", "fp16", "i8mm")
"""Instruction sets that make quantized models faster.

bf16 serves only models in that format, which ARM's code does not use it for, and SVE's vectors are no wider than NEON's
on all cores but those of a few servers.
"""

MAJOR = frozenset(("avx2", "fma", "f16c", "avx512", "amx", "dotprod", "i8mm"))
"""Instruction sets that at least double the speed of a prompt; others give a few percent."""


class BuildNote(msgspec.Struct, frozen=True):
    """A fault of the build; `error`: llama.cpp crashes, `warning`: it is much slower than it could be."""

    level: Literal["note", "warning", "error"]
    text: str


def build_note(
    build: LlamaBuild | None, cpus: Sequence[CpuClass], cpu_name: str | None = None
) -> BuildNote | None:
    """Return what is wrong with a build for these cores; None if nothing is, or nothing is known."""
    if build is None:
        return None
    if text := unsuitable(build, cpus, cpu_name):
        return BuildNote("error", text)
    unused = _unused(build, cpus)
    if not unused:
        return None
    level: Literal["note", "warning"] = "note" if MAJOR.isdisjoint(unused) else "warning"
    effect = "it could be faster" if level == "note" else "it is much slower than it could be"
    if unused == ["amx"]:
        effect = "quantized models run at half speed"
    sets = ", ".join(unused)
    if build.variant:
        text = (
            f"llama.cpp runs its variant {build.variant}, which makes no use of this CPU's {sets}: {effect}"
        )
        return BuildNote(
            "note" if unused == ["amx"] else level, text
        )  # left out where compilers get it wrong
    return BuildNote(level, f"llama.cpp was built without {sets}, which this CPU has: {effect}")


def unsuitable(build: LlamaBuild, cpus: Sequence[CpuClass], cpu_name: str | None = None) -> str | None:
    """Say what a build needs that these cores lack; None if it suits them, or nothing is known of them."""
    own = _common_sets(cpus)
    missing = [word for word in build.isa if own is not None and word not in own]
    if not missing:
        return None
    name = cpu_name or (cpus[0].name if cpus else None)
    this = f"this one ({name})" if name else "this one"
    lacks = "it" if len(missing) == 1 else "them"
    return f"llama.cpp was built for a CPU with {', '.join(missing)}, and {this} lacks {lacks}: it crashes with SIGILL"


def _unused(build: LlamaBuild, cpus: Sequence[CpuClass]) -> list[str]:
    own = _common_sets(cpus) or frozenset()
    unused = [word for word in USEFUL if word in own and word not in build.isa]
    if "avx-vnni" in unused and "vnni" in build.isa:  # the same products, of wider vectors
        unused.remove("avx-vnni")
    return unused


def _common_sets(cpus: Sequence[CpuClass]) -> frozenset[str] | None:
    """Return the instruction sets that all cores have; None if unknown.

    They are those that Linux tells programs of, and by which llama.cpp chooses a variant. Of RISC-V it reports nothing.
    """
    known = [frozenset(cores.isa) for cores in cpus if cores.isa is not None]
    if not known or "rv64" in known[0]:
        return None
    return frozenset.intersection(*known)
