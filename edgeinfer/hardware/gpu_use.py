"""Reads what GPUs are doing now: memory, use, temperature, power."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import msgspec

from edgeinfer.hardware import amd, pci
from edgeinfer.hardware.memory import memory
from edgeinfer.hardware.root_files import entries, label, number, output, read_int, read_label, read_text

QUERY = (
    "index",
    "name",
    "memory.total",
    "memory.used",
    "utilization.gpu",
    "temperature.gpu",
    "power.draw",
)
"""What nvidia-smi is asked."""

TEGRA_NODES = ("gpu", "ga10b", "gv11b", "gp10b", "gm20b")
"""Names that the GPU of a Jetson has in the device tree."""

PERMILLE, PERCENT = 1000, 100


class GpuUse(msgspec.Struct, frozen=True):
    """What a GPU is doing; None is unknown.

    Attributes:
        gpu: vendor and number, such as "nvidia0".
        memory, memory_used: bytes; of a GPU that shares the RAM, the RAM's.
        busy: share of the time in which it computed, 0 to 1.
        temperature: degrees Celsius.
        watts: power that it draws.
    """

    gpu: str
    name: str
    memory: int | None = None
    memory_used: int | None = None
    busy: float | None = None
    temperature: int | None = None
    watts: float | None = None


def gpu_uses(root: Path) -> list[GpuUse]:
    """Return every GPU whose driver tells anything; this may start nvidia-smi, which takes up to seconds."""
    nvidia = [*_tegra(root)] or parse_query(_ask_nvidia(root))
    return [*nvidia, *_amd(root), *_rockchip(root)]


def _ask_nvidia(root: Path) -> str:
    query = ("nvidia-smi", f"--query-gpu={','.join(QUERY)}", "--format=csv")
    return output(root, "nvidia-smi-use", *query) or ""


def parse_query(text: str) -> list[GpuUse]:
    """Parse the table of nvidia-smi --query-gpu=... --format=csv, where "[N/A]" is unknown."""
    rows = ([column.strip() for column in line.split(",")] for line in text.splitlines())
    header = [column.partition(" [")[0] for column in next(rows, [])]
    if "name" not in header:
        return []
    cards = (dict(zip(header, row, strict=False)) for row in rows)
    return [_card(number, card) for number, card in enumerate(cards) if label(card.get("name"))]


def _card(position: int, row: dict[str, str]) -> GpuUse:
    def amount(name: str) -> float | None:
        """The number in "61 %", "4021 MiB" or "43.12 W"."""
        found = re.match(r"\d{1,12}(\.\d{1,6})?(?= |$)", row.get(name, ""), re.ASCII)
        return float(found.group()) if found else None

    def mebibytes(name: str) -> int | None:
        found = amount(name)
        return None if found is None else int(found) * 1024**2

    busy, degrees = amount("utilization.gpu"), amount("temperature.gpu")
    index = number(row.get("index"))
    return GpuUse(
        f"nvidia{position if index is None else index}",
        label(row["name"]) or "",
        mebibytes("memory.total"),
        mebibytes("memory.used"),
        None if busy is None else busy / PERCENT,
        None if degrees is None else int(degrees),
        amount("power.draw"),
    )


def _tegra(root: Path) -> Iterator[GpuUse]:
    """The GPU of a Jetson, whose driver tells its load in thousandths, as tegrastats' GR3D_FREQ shows it."""
    for path in entries(root / "sys/class/devfreq"):
        if read_label(path / "device/of_node/name") not in TEGRA_NODES:
            continue
        load = read_int(path / "device/load")
        if load is None:
            continue
        ram = memory(root)
        used = ram.total - ram.available if ram.total is not None and ram.available is not None else None
        degrees = _zone(root, "gpu")
        yield GpuUse("nvidia0", "Tegra", ram.total, used, min(load, PERMILLE) / PERMILLE, degrees)
        return


def _amd(root: Path) -> Iterator[GpuUse]:
    cards = (device for device in pci.devices(root) if device.is_display and device.vendor == pci.AMD)
    for index, device in enumerate(card for card in cards if card.driver == "amdgpu"):
        total, used = device.number("mem_info_vram_total"), device.number("mem_info_vram_used")
        if amd.is_part_of_a_processor(device.device) and total is not None:
            total += device.number("mem_info_gtt_total") or 0
            used = None if used is None else used + (device.number("mem_info_gtt_used") or 0)
        busy = device.number("gpu_busy_percent")
        sensors = entries(device.path / "hwmon")
        degrees = [degree for path in sensors if (degree := read_int(path / "temp1_input")) is not None]
        power = [
            microwatts
            for path in sensors
            for name in ("power1_average", "power1_input")
            if (microwatts := read_int(path / name)) is not None
        ]
        yield GpuUse(
            f"amd{index}",
            amd.gpu_name(root, device),
            total,
            used,
            None if busy is None else min(busy, PERCENT) / PERCENT,
            degrees[0] // 1000 if degrees else None,
            power[0] / 1e6 if power else None,
        )


def _rockchip(root: Path) -> Iterator[GpuUse]:
    """The Mali of a Rockchip board, whose vendor's kernel tells load and clock: "37@600000000Hz"."""
    for path in entries(root / "sys/class/devfreq"):
        found = re.fullmatch(r"(\d{1,3})@\d+Hz", read_text(path / "load") or "", re.ASCII)
        if path.name.endswith(".gpu") and found:
            busy = min(int(found[1]), PERCENT) / PERCENT
            yield GpuUse("mali0", "Mali", busy=busy, temperature=_zone(root, "gpu"))
            return


def _zone(root: Path, word: str) -> int | None:
    """The temperature of the zone whose name begins with `word`, such as "gpu-thermal"."""
    for path in entries(root / "sys/class/thermal"):
        if (read_label(path / "type") or "").lower().startswith(word):
            degrees = read_int(path / "temp")
            return degrees // 1000 if degrees else None
    return None
