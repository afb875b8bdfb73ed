"""Detects NVIDIA's cards, and its Tegra chips (Jetson), whose GPU shares the RAM."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
from msgspec.structs import replace

from edgeinfer.hardware.gpu import Gpu
from edgeinfer.hardware.memory import Memory
from edgeinfer.hardware.root_files import entries, exists, label, number, output, pairs, read_text

OLD_QUERY = ("name", "memory.total", "memory.free", "driver_version")
QUERY = (*OLD_QUERY, "compute_cap", "mig.mode.current")
"""Drivers before 510 do not know the compute capability, and reject the whole query."""

DIVIDED = " (MIG)"
INSTANCE = re.compile(r"\s(MIG \d+g\.(\d+)gb\S*)\s", re.ASCII)
"""A part of a card in the list of nvidia-smi: its share of the cores, and gigabytes."""

MIB, GIB = 1024**2, 1024**3


class Tegra(msgspec.Struct, frozen=True):
    """The GPU of a Tegra chip."""

    name: str
    compute_capability: str


TEGRA = {
    "nvidia,tegra264": Tegra("Thor", "11.0"),
    "nvidia,tegra234": Tegra("Orin", "8.7"),
    "nvidia,tegra194": Tegra("Xavier", "7.2"),
    "nvidia,tegra186": Tegra("Tegra X2", "6.2"),
    "nvidia,tegra210": Tegra("Tegra X1", "5.3"),
}
"""Name of the chip in the device tree -> its GPU."""


def cards(root: Path, ram: Memory, container: str | None) -> list[Gpu]:
    """Return the cards that the driver knows; none if it is missing or broken.

    A `container` sees the driver of its host even if it has access to none of the cards.
    """
    for fields in (QUERY, OLD_QUERY):
        text = output(root, "nvidia-smi", "nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv")
        if gpus := parse_query(text or "", ram):
            return _instances(gpus, root) if any(gpu.name.endswith(DIVIDED) for gpu in gpus) else gpus
        if text is None:
            break
    return _without_smi(root) if container is None or exists(root / "dev/nvidiactl") else []


def parse_query(text: str, ram: Memory) -> list[Gpu]:
    """Parse the table of nvidia-smi --query-gpu=... --format=csv, where "[N/A]" is unknown.

    A GPU without memory of its own shares the machine's `ram`.
    """
    rows = ([column.strip() for column in line.split(",")] for line in text.splitlines())
    header = [column.partition(" [")[0] for column in next(rows, [])]
    if "name" not in header:
        return []
    return [gpu for row in rows if (gpu := _card(dict(zip(header, row, strict=False)), ram))]


def _instances(gpus: list[Gpu], root: Path) -> list[Gpu]:
    """Return the first part of each card that is divided, as CUDA uses no other; a card without one is of no use."""
    texts = iter((output(root, "nvidia-smi-list", "nvidia-smi", "-L") or "").split("GPU ")[1:])
    found = []
    for gpu in gpus:
        part = INSTANCE.search(next(texts, ""))
        if not gpu.name.endswith(DIVIDED):
            found.append(gpu)
        elif part:
            name, memory = gpu.name.replace(DIVIDED, f" {part[1]}"), int(part[2]) * GIB
            found.append(replace(gpu, name=name, memory=memory, available=memory, shared=False))
        else:
            found.append(replace(gpu, api=None, memory=None, available=None, shared=False))
    return found


def _card(row: dict[str, str], ram: Memory) -> Gpu | None:
    name = label(row.get("name"))
    if name is None or name.startswith("["):
        return None
    memory = _mib(row.get("memory.total"))
    if row.get("mig.mode.current") == "Enabled":
        name += DIVIDED
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
    """Return the compute capability of a Tegra GPU by its name, such as "Orin (nvgpu)"."""
    return next((chip.compute_capability for chip in TEGRA.values() if chip.name in name.split()), None)


def _mib(text: str | None) -> int | None:
    """Parse "12288 MiB" to bytes."""
    return number((text or "").removesuffix("MiB").strip(), MIB)


def _version(text: str | None) -> str | None:
    return text if text and re.fullmatch(r"\d+(\.\d+){1,3}", text, re.ASCII) else None


def _without_smi(root: Path) -> list[Gpu]:
    """Return the cards from /proc, if the driver is loaded but its tools are missing."""
    text = read_text(root / "proc/driver/nvidia/version") or ""
    version = re.search(r"\s(\d+\.\d+(?:\.\d+)?)\s", text, re.ASCII)
    gpus = []
    for directory in entries(root / "proc/driver/nvidia/gpus"):
        information = pairs(read_text(directory / "information") or "", ":")
        if name := label(information.get("Model")):
            gpus.append(Gpu("nvidia", name, "cuda", driver=version.group(1) if version else "nvidia"))
    return gpus


def tegra(root: Path, compatible: tuple[str, ...], ram: Memory) -> list[Gpu]:
    """Return the GPU of a Jetson from its device tree.

    nvidia-smi exists from JetPack 6 on, and omits most facts.
    """
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
    """Parse the version of L4T: "36.4.3" from "# R36 (release), REVISION: 4.3, ..."."""
    match = re.match(r"# R(\d{1,3}) \(release\), REVISION: (\d{1,3}(?:\.\d{1,3})*)", text, re.ASCII)
    return f"{match.group(1)}.{match.group(2)}" if match else None
