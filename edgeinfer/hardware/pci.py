"""Lists devices on the PCI bus, with or without a driver."""

from __future__ import annotations

from pathlib import Path

import msgspec

from edgeinfer.hardware.root_files import entries, label, read_int, read_pairs, read_text

NVIDIA, AMD, AMD_CPU, INTEL, HAILO, GOOGLE = 0x10DE, 0x1002, 0x1022, 0x8086, 0x1E60, 0x1AC1

ID_FILES = ("usr/share/misc/pci.ids", "usr/share/hwdata/pci.ids")


class PciDevice(msgspec.Struct, frozen=True):
    """A device on the PCI bus.

    Attributes:
        kind: the class; 0x03 in its highest byte is a display.
        driver: name of the kernel module.
    """

    path: Path
    kind: int
    vendor: int
    device: int
    driver: str | None

    @property
    def is_display(self) -> bool:
        """True for displays, and for AMD's server cards that only compute."""
        return self.kind >> 16 == 0x03 or (self.vendor == AMD and self.kind >> 16 == 0x12)

    @property
    def bus(self) -> str:
        """The bus, which is "0000:00" for everything that is part of the processor."""
        return self.path.name.rpartition(":")[0]

    def number(self, name: str) -> int | None:
        return read_int(self.path / name)

    @property
    def ids(self) -> str:
        return f"{self.vendor:04x}:{self.device:04x}"


def devices(root: Path) -> list[PciDevice]:
    return [device for path in entries(root / "sys/bus/pci/devices") if (device := _device(path))]


def _device(path: Path) -> PciDevice | None:
    """Read a device from its uevent file: PCI_CLASS=30000, PCI_ID=10DE:2504, DRIVER=nvidia."""
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
    """Return the name in the system's list of PCI ids, such as "Navi 22 [Radeon RX 6700]"; None if unknown."""
    text = next((text for path in ID_FILES if (text := read_text(root / path))), "")
    _, _, rest = f"\n{text}".partition(f"\n{device.vendor:04x}  ")
    for line in rest.splitlines()[1:]:
        if line[:1] not in ("\t", "#", ""):
            break
        if line.startswith(f"\t{device.device:04x}  "):
            return label(line[7:])
    return None
