"""Detects neural processors by name. llama.cpp cannot use them."""

from __future__ import annotations

from pathlib import Path

from edgeinfer.hardware import pci
from edgeinfer.hardware.board import Board
from edgeinfer.hardware.root_files import entries, label, read_pairs
from edgeinfer.hardware.soc import soc

PCI_NPUS = {
    (pci.AMD_CPU, 0x1502): "AMD XDNA",
    (pci.AMD_CPU, 0x17F0): "AMD XDNA 2",
    (pci.GOOGLE, 0x089A): "Google Coral",
    (pci.HAILO, 0x2864): "Hailo-8",
    (pci.HAILO, 0x45C4): "Hailo-10H",
    (pci.INTEL, 0x643E): "Intel NPU",
    (pci.INTEL, 0x7D1D): "Intel NPU",
    (pci.INTEL, 0xAD1D): "Intel NPU",
    (pci.INTEL, 0xB03E): "Intel NPU",
}


def npu(root: Path, board: Board | None) -> str | None:
    """Return the names of all NPUs; None if there is none."""
    chip = soc(board.compatible) if board else None
    names = [chip.npu] if chip and chip.npu else []
    ids = [(device.vendor, device.device) for device in pci.devices(root)]
    names += [PCI_NPUS[id] for id in ids if id in PCI_NPUS]
    if not names:
        names = [
            driver
            for accelerator in entries(root / "sys/class/accel")
            if (driver := label(read_pairs(accelerator / "device/uevent", "=").get("DRIVER")))
        ]
    return ", ".join(dict.fromkeys(names)) or None
