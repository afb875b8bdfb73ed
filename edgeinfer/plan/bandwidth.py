"""Memory bandwidth of a machine's processors, as reached while one answer is generated.

What was measured comes first, then what data sheets say, then an estimate from the kind of core or the size of the
card. An estimate is on the careful side: a speed that is not known never counts as fast.
"""

from __future__ import annotations

import re

import msgspec

from edgeinfer.hardware import HardwareProfile
from edgeinfer.hardware.cpu import CpuClass
from edgeinfer.hardware.gpu import Gpu
from edgeinfer.plan.processor_tables import CoreRate, MeasuredRate, cpu_table, find_card, gpu_table

GB = 1e9


class Bandwidth(msgspec.Struct, frozen=True):
    """Speed at which a processor reads weights.

    Attributes:
        rate: bytes per second.
        overhead: seconds per token beyond reading the weights.
        source: where the figure comes from, such as "known for rk3588".
    """

    rate: float
    overhead: float
    source: str


CPU_OVERHEAD = 1e-3
CARD_OVERHEAD = 1.5e-3
APPLE_OVERHEAD = 2e-3
"""An M4 (120 GB/s): 41 tok/s of a 3B (2.02 GB)."""

JETSON_OVERHEAD = 5e-3
"""An Orin Nano: 139 to 165 tok/s of a model of 135 M parameters, whose weights it reads three times as fast."""

SHARED_SHARE = 0.75
"""Share of the RAM's bandwidth that the GPUs of Macs reach."""

JETSON_SHARE = 0.55
"""The same for Jetsons: an Orin Nano Super at 25 W generated 54 tok/s of a 1.2B, 0.73 GB, with llama.cpp."""

MIG_SLICES = 8
"""Parts of the memory of a card that MIG divides."""

UNKNOWN_SHARE = 0.5
"""Share of its memory's bandwidth that a card reaches of which nothing else is known."""

UNKNOWN_APPLE = {"": 68, "pro": 150, "max": 300, "ultra": 600}
"""GB/s of Apple's chips that are newer than the table: those of the slowest so far."""

UNKNOWN_TEGRA = 51
"""GB/s of an NVIDIA GPU that shares the RAM and is not in the table: those of a Xavier NX."""

X86_MHZ, OTHER_MHZ = 2000, 1500
"""Clock of cores that do not tell it."""


def cpu_bandwidth(profile: HardwareProfile, threads: int | None = None) -> Bandwidth:
    """Return the bandwidth of the cores that compute: those of the fastest class, as far as a quota allows."""
    cores = profile.cpus[0] if profile.cpus else CpuClass([0], None, None)
    count = min(limit for limit in (len(cores.cpus), profile.cpu_quota, threads) if limit)
    if measured := _measured(profile, cores):
        rate = measured.rate * min(1.0, count / measured.cores)
        return Bandwidth(rate * GB, 0, f"known for {measured.family or profile.cpu_name}")
    core, kind = _estimated(profile, cores)
    mhz = cores.max_mhz or (X86_MHZ if _is_x86(cores) else OTHER_MHZ)
    rate = min(core.rate * count * mhz / 1000, core.max)
    if count == 1:
        kind = kind.replace("cores ", "core ")
    return Bandwidth(rate * GB, CPU_OVERHEAD, f"estimated for {count:g} {kind}")


def _measured(profile: HardwareProfile, cores: CpuClass) -> MeasuredRate | None:
    family = profile.board.family if profile.board else None
    for row in cpu_table().measured:
        if row.core and cores.name not in (None, row.core):
            continue
        if (row.family and row.family == family) or (
            row.processor and profile.cpu_name and re.search(row.processor, profile.cpu_name)
        ):
            return row
    return None


def _estimated(profile: HardwareProfile, cores: CpuClass) -> tuple[CoreRate, str]:
    """Return the rate of a core, and what it is called."""
    table = cpu_table()
    if cores.name in table.cores:
        return table.cores[cores.name], cores.name
    isa = frozenset(cores.isa or ())
    plain = next(row for row in table.instructions if isa.issuperset(row.isa))
    for row in table.servers:
        if "avx2" in isa and "amx" not in isa and re.search(row.processor, profile.cpu_name or ""):
            return row, "cores of a server"
    return plain, f"cores with {plain.isa[0]}" if plain.isa else "cores of an unknown kind"


def _is_x86(cores: CpuClass) -> bool:
    return cores.isa is not None and cores.name is None and not {"neon", "rv64"} & set(cores.isa)


def gpu_bandwidth(gpu: Gpu, profile: HardwareProfile) -> Bandwidth | None:
    """Return a GPU's bandwidth; None for one that shares the RAM, and is not known to get more than the CPU."""
    family = (profile.board.family if profile.board else None) or ""
    if gpu.vendor == "apple" and gpu.api == "metal":
        chip = family.removeprefix("apple-")
        if peak := gpu_table().apple.get(chip):
            return Bandwidth(peak * SHARED_SHARE * GB, APPLE_OVERHEAD, f"known for {gpu.name}")
        guess = UNKNOWN_APPLE.get(chip.rpartition("-")[2], UNKNOWN_APPLE[""])
        return Bandwidth(guess * SHARED_SHARE * GB, APPLE_OVERHEAD, f"estimated for {gpu.name}")
    if peak := _jetson_peak(family, profile):
        return Bandwidth(peak * JETSON_SHARE * GB, JETSON_OVERHEAD, f"known for {family}")
    gigabytes = (gpu.memory or 0) / 1024**3
    if card := find_card(gpu.vendor, gpu.name):
        rate = card.peak(gigabytes) * _part(gpu.name) * card.series.share
        return Bandwidth(rate * GB, CARD_OVERHEAD, f"known for {gpu.name}")
    if gpu.shared and gpu.vendor == "nvidia":
        return Bandwidth(UNKNOWN_TEGRA * JETSON_SHARE * GB, JETSON_OVERHEAD, f"estimated for {gpu.name}")
    if gpu.shared:
        return None
    source = f"estimated for a card with {gigabytes:.0f} GB" if gigabytes else "estimated for an unknown card"
    return Bandwidth(_unknown_peak(gigabytes) * UNKNOWN_SHARE * GB, CARD_OVERHEAD, source)


def _part(name: str) -> float:
    """Return the share of the memory's bandwidth of an instance such as "MIG 1g.10gb"; 1 for a whole card."""
    slices = re.search(r"\bMIG (\d+)g\.", name, re.ASCII)
    return min(int(slices[1]), MIG_SLICES) / MIG_SLICES if slices else 1.0


def _jetson_peak(family: str, profile: HardwareProfile) -> int | None:
    is_super = profile.board is not None and "Super" in profile.board.model
    jetson = gpu_table().jetson
    return (jetson.get(f"{family}-super") if is_super else None) or jetson.get(family)


def _unknown_peak(gigabytes: float) -> int:
    """Return the GB/s of the slowest card with so much memory."""
    table = gpu_table().unknown
    return table[max((size for size in table if size <= gigabytes + 0.5), default=min(table))]
