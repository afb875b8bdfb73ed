"""Detects a Mac from what sysctl and vm_stat print."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from edgeinfer.hardware.board import Board
from edgeinfer.hardware.cpu import CpuClass
from edgeinfer.hardware.gpu import Gpu
from edgeinfer.hardware.memory import Memory
from edgeinfer.hardware.root_files import label, number, output, pairs

GB = 1024**3

ARM_FEATURES = {
    "dotprod": "hw.optional.arm.FEAT_DotProd",
    "fp16": "hw.optional.arm.FEAT_FP16",
    "i8mm": "hw.optional.arm.FEAT_I8MM",
    "bf16": "hw.optional.arm.FEAT_BF16",
}
INTEL_FEATURES = {"avx": "AVX1.0", "avx2": "AVX2", "fma": "FMA", "f16c": "F16C", "avx512": "AVX512F"}
"""Our name -> sysctl's."""


def sysctl(root: Path) -> dict[str, str]:
    """Return the kernel's facts by name; empty if this is not a Mac."""
    if root == Path("/") and sys.platform != "darwin":
        return {}
    return pairs(output(root, "sysctl", "sysctl", "-a") or "", ": ")


def cpu_name(facts: dict[str, str]) -> str | None:
    return label(facts.get("machdep.cpu.brand_string"))


def is_apple_silicon(facts: dict[str, str]) -> bool:
    """Tell whether the chip is Apple's, of the M or A series: there is a MacBook with an A18 Pro."""
    return (cpu_name(facts) or "").startswith("Apple ")


def classes(facts: dict[str, str]) -> list[CpuClass]:
    """Return performance and efficiency cores. macOS does not number them, so the numbers are made up."""
    chip = cpu_name(facts)
    isa = _isa(facts)
    cores: list[CpuClass] = []
    first = 0
    for level in range(min(number(facts.get("hw.nperflevels")) or 1, 4)):
        count = number(facts.get(f"hw.perflevel{level}.physicalcpu"))
        if count and count <= 1024:
            kind = label(facts.get(f"hw.perflevel{level}.name")) or ("Performance", "Efficiency")[level > 0]
            name = f"{chip} {kind.lower()}" if chip else None
            cores.append(CpuClass(list(range(first, first + count)), None, None, name, isa))
            first += count
    if not cores and (count := min(number(facts.get("hw.physicalcpu")) or 0, 1024)):
        cores.append(CpuClass(list(range(count)), None, None, None, isa))
    return cores


def _isa(facts: dict[str, str]) -> tuple[str, ...] | None:
    if facts.get("hw.optional.arm64") == "1":
        return ("neon", *(word for word, name in ARM_FEATURES.items() if facts.get(name) == "1"))
    flags = f"{facts.get('machdep.cpu.features', '')} {facts.get('machdep.cpu.leaf7_features', '')}".split()
    return tuple(word for word, name in INTEL_FEATURES.items() if name in flags) if flags else None


def memory(root: Path, facts: dict[str, str]) -> Memory:
    """Return the memory, without swap, which macOS creates as needed."""
    return Memory(
        number(facts.get("hw.memsize")), parse_vm_stat(output(root, "vm_stat", "vm_stat") or ""), None
    )


def parse_vm_stat(text: str) -> int | None:
    """Return the bytes available without swapping: free, speculative and inactive pages."""
    size = re.search(r"page size of (\d{1,9}) bytes", text, re.ASCII)
    if size is None:
        return None
    counts = pairs(text, ":")
    kinds = [counts.get(f"Pages {kind}", "").rstrip(".") for kind in ("free", "speculative", "inactive")]
    known = [count for kind in kinds if (count := number(kind, int(size.group(1)))) is not None]
    return sum(known) if known else None


def gpus(facts: dict[str, str], ram: Memory) -> tuple[Gpu, ...]:
    """Return Metal's GPU. Those of Intel Macs are unknown to sysctl, and of little use to llama.cpp."""
    name = cpu_name(facts)
    if name is None or not is_apple_silicon(facts):
        return ()
    limit = metal_limit(ram.total, number(facts.get("iogpu.wired_limit_mb"), 1024**2))
    free = min(limit, ram.available) if limit is not None and ram.available is not None else None
    return (Gpu("apple", name, "metal", limit, free, shared=True, driver="Metal"),)


def metal_limit(total: int | None, wired: int | None) -> int | None:
    """Return the bytes of RAM that the GPU may use: Metal's recommendedMaxWorkingSetSize.

    It is two thirds of the RAM up to 32 GB, and three quarters above, as Metal reports for 8 (5461 MiB), 16 (10922),
    32 (21845) and 64 GB (49152), unless iogpu.wired_limit_mb is set.
    """
    if wired:
        return wired
    if total is None:
        return None
    return total * 2 // 3 if total <= 32 * GB else total * 3 // 4


def board(facts: dict[str, str]) -> Board | None:
    """Return the Mac's model. Its family is the chip: "apple-m2", "apple-a18-pro"."""
    model = label(facts.get("hw.model"))
    if model is None:
        return None
    chip = cpu_name(facts) or ""
    return Board(model, (), chip.lower().replace(" ", "-") if is_apple_silicon(facts) else None)
