"""Detects AMD GPUs from what the amdgpu driver reports."""

from __future__ import annotations

from pathlib import Path

from edgeinfer.hardware.gpu import Api, Gpu
from edgeinfer.hardware.memory import Memory
from edgeinfer.hardware.pci import PciDevice, device_name
from edgeinfer.hardware.root_files import entries, exists, label, number, read_label, read_pairs, read_text

NAMES = "usr/share/libdrm/amdgpu.ids"
"""Mesa's list of product names by chip and revision: "73DF, C1, AMD Radeon RX 6700 XT"."""

APUS = {
    0x1114: "Krackan",
    0x13C0: "Granite Ridge",
    0x1435: "Sephiroth",
    0x150E: "Strix",
    0x1506: "Mendocino",
    0x1586: "Strix Halo",
    0x15BF: "Phoenix",
    0x15C8: "Phoenix 2",
    0x15D8: "Picasso",
    0x15DD: "Raven",
    0x15E7: "Barcelo",
    0x1636: "Renoir",
    0x1638: "Cezanne",
    0x163F: "Van Gogh",
    0x164C: "Lucienne",
    0x164E: "Raphael",
    0x1681: "Rembrandt",
    0x1900: "Hawk Point",
    0x1901: "Hawk Point",
}
"""GPUs that are part of a processor and share the RAM: device id -> the processor."""


def is_part_of_a_processor(device: int) -> bool:
    """Tell whether a GPU shares the RAM: AMD numbers those below 0x2000 and from 0x9000 on, and cards between."""
    return device in APUS or device < 0x2000 or device >= 0x9000


def gpu(root: Path, device: PciDevice, ram: Memory, reachable: bool) -> Gpu:
    """Return an AMD GPU. One that shares the RAM has a fixed part of it, and may borrow more."""
    shared = is_part_of_a_processor(device.device)
    total, used = device.number("mem_info_vram_total"), device.number("mem_info_vram_used")
    free = max(0, total - used) if total is not None and used is not None else None
    if shared and total is not None:
        borrowed = device.number("mem_info_gtt_total") or 0
        total += borrowed
        free = min(free + borrowed, ram.available) if free is not None and ram.available is not None else None
    api: Api | None = None
    if reachable and device.driver == "amdgpu":
        api = "rocm" if _has_rocm(root, device) else "vulkan"
    return Gpu("amd", gpu_name(root, device), api, total, free, shared, driver=device.driver)


def _has_rocm(root: Path, device: PciDevice) -> bool:
    """Tell whether ROCm is installed, and the kernel offers it this GPU."""
    nodes = [
        read_pairs(node / "properties", " ") for node in entries(root / "sys/class/kfd/kfd/topology/nodes")
    ]
    return exists(root / "opt/rocm") and any(
        number(node.get("device_id")) == device.device and number(node.get("gfx_target_version"))
        for node in nodes
    )


def gpu_name(root: Path, device: PciDevice) -> str:
    if name := read_label(device.path / "product_name") or _product_name(root, device):
        return name
    if name := device_name(root, device):
        return f"AMD {name}"
    return f"AMD Radeon ({APUS.get(device.device) or device.ids})"


def _product_name(root: Path, device: PciDevice) -> str | None:
    revision = (read_text(device.path / "revision") or "").removeprefix("0x")
    for line in (read_text(root / NAMES) or "").splitlines():
        words = [word.strip() for word in line.split(",", 2)]
        if len(words) == 3 and (words[0].lower(), words[1].lower()) == (
            f"{device.device:04x}",
            revision.lower(),
        ):
            return label(words[2])
    return None
