"""Roots of machines, written for a test."""

from __future__ import annotations

from pathlib import Path


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def pci(slot: str, kind: str, ids: str, driver: str | None = None) -> dict[str, str]:
    """A device as its uevent file tells of it: class and ids in hexadecimal, "30000", "10DE:2504"."""
    text = f"PCI_CLASS={kind}\nPCI_ID={ids}\nPCI_SLOT_NAME={slot}\n"
    return {f"sys/bus/pci/devices/{slot}/uevent": (f"DRIVER={driver}\n" if driver else "") + text}


def device_tree(model: str, *compatible: str) -> dict[str, str]:
    words = "".join(f"{word}\0" for word in compatible)
    return {"proc/device-tree/model": f"{model}\0", "proc/device-tree/compatible": words}
