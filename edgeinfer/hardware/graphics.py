"""Detects all GPUs of a Linux machine: cards with and without a driver, integrated ones, and those of SoCs."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from edgeinfer.hardware import amd, nvidia, pci
from edgeinfer.hardware.board import Board
from edgeinfer.hardware.gpu import Api, Gpu
from edgeinfer.hardware.llama_build import LlamaBuild
from edgeinfer.hardware.memory import Memory
from edgeinfer.hardware.pci import PciDevice
from edgeinfer.hardware.root_files import MAX_NUMBER, entries, exists, read_strings, read_text
from edgeinfer.hardware.soc import soc

GB = 1024**3

CHOICES = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "GGML_VK_VISIBLE_DEVICES")
"""Variables by which a user chooses cards, which have other numbers then."""

ARC = ((0x4905, 0x490C), (0x4F80, 0x4F8F), (0x5690, 0x56BF), (0xE202, 0xE22F))
"""Device ids of Intel's cards."""

MIN_WINDOW = GB
"""Windows onto a card's memory that are smaller, usually 256 MiB, do not tell its size."""

VENDORS = {pci.NVIDIA: "nvidia", pci.AMD: "amd", pci.INTEL: "intel"}

TREE_GPUS = {
    "arm,mali-": ("arm", "Mali"),
    "qcom,adreno": ("qualcomm", "Adreno"),
    "img,": ("imagination", "PowerVR"),
    "apple,agx": ("apple", "Apple GPU"),
    "vivante,gc": ("vivante", "Vivante"),
}
"""Beginning of a GPU's name in the device tree -> vendor and name."""


def gpus(root: Path, board: Board | None, ram: Memory, container: str | None) -> tuple[Gpu, ...]:
    """Return all GPUs: those that llama.cpp can use first, the largest first."""
    compatible = board.compatible if board else ()
    gpus = nvidia.tegra(root, compatible, ram)
    if not any(gpu.api for gpu in gpus):
        gpus = nvidia.cards(root, ram, container) or gpus
    seen = {gpu.vendor for gpu in gpus}
    reachable = container is None or exists(root / "dev/dri")
    gpus += [
        _card(root, device, ram, reachable)
        for device in pci.devices(root)
        if device.is_display and device.vendor in VENDORS and VENDORS[device.vendor] not in seen
    ]
    if not gpus:
        gpus = _soc_gpu(root, compatible)
    if not (root == Path("/") and any(variable in os.environ for variable in CHOICES)):
        gpus = _numbered(gpus)
    return tuple(sorted(gpus, key=lambda gpu: (gpu.api is None, gpu.shared, -(gpu.memory or 0))))


def _numbered(gpus: list[Gpu]) -> list[Gpu]:
    """Number the cards of each API in the order of the bus; a single one needs no number."""
    by_api: dict[Api | None, list[Gpu]] = {}
    for gpu in gpus:
        if not gpu.shared:
            by_api.setdefault(gpu.api, []).append(gpu)
    numbers = {
        id(gpu): index
        for api, cards in by_api.items()
        for index, gpu in enumerate(cards)
        if api and len(cards) > 1
    }
    return [msgspec.structs.replace(gpu, index=numbers.get(id(gpu))) for gpu in gpus]


def _card(root: Path, device: PciDevice, ram: Memory, reachable: bool) -> Gpu:
    if device.vendor == pci.AMD:
        return amd.gpu(root, device, ram, reachable)
    if device.vendor == pci.INTEL:
        return _intel(root, device, ram, reachable)
    return Gpu("nvidia", _name(root, device, "NVIDIA"), driver=device.driver)


def _intel(root: Path, device: PciDevice, ram: Memory, reachable: bool) -> Gpu:
    # A virtual machine may have a card where the processor's own devices are.
    shared = device.bus == "0000:00" and not any(first <= device.device <= last for first, last in ARC)
    api: Api | None = "vulkan" if reachable and device.driver in ("i915", "xe") else None
    memory = _shared_heap(ram.total) if shared else _intel_memory(device)
    available = None
    if shared and memory is not None and ram.available is not None:
        available = min(memory, ram.available)
    return Gpu("intel", _name(root, device, "Intel"), api, memory, available, shared, driver=device.driver)


def _intel_memory(device: PciDevice) -> int | None:
    """Return the memory of a card: xe tells it, under i915 it is the window onto it, if that was resized.

    The lines of `resource` are first address, last address and flags of each window; the third is the memory.
    """
    if (memory := device.number("tile0/physical_vram_size_bytes")) is not None:
        return memory
    windows = (read_text(device.path / "resource") or "").splitlines()
    try:
        first, last = (int(word, 16) for word in windows[2].split()[:2])
    except (IndexError, ValueError):
        return None
    size = last - first + 1
    return size if MIN_WINDOW <= size <= MAX_NUMBER else None


def _shared_heap(total: int | None) -> int | None:
    """Return the RAM that Mesa's driver lets an Intel GPU take: three quarters, or half of up to 4 GB."""
    if total is None:
        return None
    return total * 3 // 4 if total > 4 * GB else total // 2


def _name(root: Path, device: PciDevice, maker: str) -> str:
    name = pci.device_name(root, device)
    return f"{maker} {name}" if name else f"{maker} GPU ({device.ids})"


def with_reachable_api(gpu: Gpu, build: LlamaBuild | None) -> Gpu:
    """Return the GPU with the API that the installed llama.cpp was built for: Vulkan if not the vendor's own."""
    if build is None or gpu.api is None or gpu.api in build.apis or "vulkan" not in build.apis:
        return gpu
    if gpu.shared and gpu.vendor != "amd":
        return gpu
    return msgspec.structs.replace(gpu, api="vulkan")


def _soc_gpu(root: Path, compatible: tuple[str, ...]) -> list[Gpu]:
    """Return the GPU of a system on a chip.

    llama.cpp cannot make use of these: where Vulkan runs at all (panvk, v3dv), it is several times slower than the CPU.
    """
    chip = soc(compatible)
    if chip and chip.gpu:
        return [Gpu(chip.gpu_vendor, chip.gpu, shared=True)]
    nodes = entries(root / "proc/device-tree")
    nodes += [node for bus in nodes if bus.name.startswith("soc") for node in entries(bus)]
    words = [
        word for node in nodes if node.name.startswith("gpu@") for word in read_strings(node / "compatible")
    ]
    for start, (vendor, name) in TREE_GPUS.items():
        if any(word.startswith(start) for word in words):
            return [Gpu(vendor, name, shared=True)]
    return [Gpu("arm", "Mali", shared=True)] if exists(root / "sys/class/misc/mali0") else []
