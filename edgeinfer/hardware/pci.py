"""Devices on the PCI bus, with or without a driver."""

from __future__ import annotations

from pathlib import Path

import msgspec

from edgeinfer.hardware.root_files import entries, label, read_int, read_pairs, read_text

NVIDIA, AMD, AMD_CPU, INTEL, HAILO, GOOGLE = 0x10DE, 0x1002, 0x1022, 0x8086, 0x1E60, 0x1AC1

ID_FILES = ("usr/share/misc/pci.ids", "usr/share/hwdata/pci.ids")


class PciDevice(msgspec.Struct, frozen=True):
    """`kind` is the class: 0x03 in its highest byte is a display. `driver` is the kernel module's name."""

    path: Path
    kind: int
    vendor: int
    device: int
    driver: str | None

    @property
    def is_display(self) -> bool:
        """Or computes like one: some of AMD's cards for servers are no displays."""
        return self.kind >> 16 == 0x03 or (self.vendor == AMD and self.kind >> 16 == 0x12)

    @property
    def bus(self) -> str:
        """It is "0000:00" for all that is part of the processor's own complex."""
        return self.path.name.rpartition(":")[0]

    def number(self, name: str) -> int | None:
        return read_int(self.path / name)

    @property
    def ids(self) -> str:
        return f"{self.vendor:04x}:{self.device:04x}"


def devices(root: Path) -> list[PciDevice]:
    return [found for path in entries(root / "sys/bus/pci/devices") if (found := _device(path))]


def _device(path: Path) -> PciDevice | None:
    """From its uevent file, which says all at once: PCI_CLASS=30000, PCI_ID=10DE:2504, DRIVER=nvidia."""
    event = read_pairs(path / "uevent", "=")
    vendor, _, device = event.get("PCI_ID", "").partition(":")
    ids = [_hex(text) for text in (event.get("PCI_CLASS", ""), vendor, device)]
    if None in ids:
        return None
    kind, maker, model = (number or 0 for number in ids)
    return PciDevice(path, kind, maker, model, label(event.get("DRIVER")))


def _hex(text: str) -> int | None:
    try:
        return int(text, 16) if len(text) <= 8 else None
    except ValueError:
        return None


def device_name(root: Path, device: PciDevice) -> str | None:
    """From the system's list of PCI ids, where there is one: "Navi 22 [Radeon RX 6700]"."""
    text = next((text for path in ID_FILES if (text := read_text(root / path))), "")
    _, _, rest = f"\n{text}".partition(f"\n{device.vendor:04x}  ")
    for line in rest.splitlines()[1:]:
        if line[:1] not in ("\t", "#", ""):
            break
        if line.startswith(f"\t{device.device:04x}  "):
            return label(line[7:])
    return None
