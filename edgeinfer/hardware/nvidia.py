"""NVIDIA's cards, and its Tegra chips (Jetson), whose GPU shares the RAM."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from edgeinfer.hardware.gpu import Gpu
from edgeinfer.hardware.memory import Memory
from edgeinfer.hardware.root_files import entries, exists, label, number, output, pairs, read_text

QUERY = ("name", "memory.total", "memory.free", "compute_cap", "driver_version")
OLD_QUERY = tuple(field for field in QUERY if field != "compute_cap")
"""Drivers before 510 don't know the compute capability, and refuse the whole query."""

MIB = 1024**2


class Tegra(msgspec.Struct, frozen=True):
    name: str
    compute_capability: str


TEGRA = {
    "nvidia,tegra264": Tegra("Thor", "11.0"),
    "nvidia,tegra234": Tegra("Orin", "8.7"),
    "nvidia,tegra194": Tegra("Xavier", "7.2"),
    "nvidia,tegra186": Tegra("Tegra X2", "6.2"),
    "nvidia,tegra210": Tegra("Tegra X1", "5.3"),
}
"""By the device tree's word for the chip."""


def cards(root: Path, ram: Memory, container: str | None) -> list[Gpu]:
    """What the driver knows of; nothing where it is missing or broken.

    A `container` sees the driver of its host even where it was given none of the cards.
    """
    for fields in (QUERY, OLD_QUERY):
        text = output(root, "nvidia-smi", "nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv")
        if found := parse_query(text or "", ram):
            return found
        if text is None:
            break
    return _without_smi(root) if container is None or exists(root / "dev/nvidiactl") else []


def parse_query(text: str, ram: Memory) -> list[Gpu]:
    """The table of nvidia-smi --query-gpu=... --format=csv. "[N/A]" in it is unknown.

    A GPU without memory of its own shares the machine's `ram`.
    """
    rows = ([column.strip() for column in line.split(",")] for line in text.splitlines())
    header = [column.partition(" [")[0] for column in next(rows, [])]
    if "name" not in header:
        return []
    return [gpu for row in rows if (gpu := _card(dict(zip(header, row, strict=False)), ram))]


def _card(row: dict[str, str], ram: Memory) -> Gpu | None:
    name = label(row.get("name"))
    if name is None or name.startswith("["):
        return None
    memory = _mib(row.get("memory.total"))
    return Gpu(
        "nvidia",
        name,
        "cuda",
        memory=memory or ram.total,
        available=_mib(row.get("memory.free")) if memory else ram.available,
        shared=not memory,
        compute_capability=_version(row.get("compute_cap")) or _tegra_capability(name),
        driver=_version(row.get("driver_version")),
    )


def _tegra_capability(name: str) -> str | None:
    """Of "Orin (nvgpu)", say, which nvidia-smi tells next to nothing of."""
    return next((chip.compute_capability for chip in TEGRA.values() if chip.name in name.split()), None)


def _mib(text: str | None) -> int | None:
    """Bytes of "12288 MiB"."""
    return number((text or "").removesuffix("MiB").strip(), MIB)


def _version(text: str | None) -> str | None:
    return text if text and re.fullmatch(r"\d+(\.\d+){1,3}", text, re.ASCII) else None


def _without_smi(root: Path) -> list[Gpu]:
    """The driver is loaded, its tools are missing."""
    said = read_text(root / "proc/driver/nvidia/version") or ""
    version = re.search(r"\s(\d+\.\d+(?:\.\d+)?)\s", said, re.ASCII)
    found = []
    for directory in entries(root / "proc/driver/nvidia/gpus"):
        about = pairs(read_text(directory / "information") or "", ":")
        if name := label(about.get("Model")):
            found.append(Gpu("nvidia", name, "cuda", driver=version.group(1) if version else "nvidia"))
    return found


def tegra(root: Path, compatible: tuple[str, ...], ram: Memory) -> list[Gpu]:
    """The GPU of a Jetson, from its device tree: nvidia-smi comes with JetPack 6, and leaves most of it out."""
    release = parse_release(read_text(root / "etc/nv_tegra_release") or "")
    chip = next((TEGRA[word] for word in compatible if word in TEGRA), None)
    if chip is None and release is None:
        return []
    return [
        Gpu(
            "nvidia",
            chip.name if chip else "Tegra",
            "cuda" if release else None,
            memory=ram.total,
            available=ram.available,
            shared=True,
            compute_capability=chip.compute_capability if chip else None,
            driver=release,
        )
    ]


def parse_release(text: str) -> str | None:
    """The version of L4T: "36.4.3" of "# R36 (release), REVISION: 4.3, ..."."""
    found = re.match(r"# R(\d{1,3}) \(release\), REVISION: (\d{1,3}(?:\.\d{1,3})*)", text, re.ASCII)
    return f"{found.group(1)}.{found.group(2)}" if found else None
