"""Detects the board from the device tree or the firmware."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from edgeinfer.hardware.isa import cpuinfo
from edgeinfer.hardware.root_files import label, read_label, read_strings
from edgeinfer.hardware.soc import soc

DEVICE_TREES = ("proc/device-tree", "sys/firmware/devicetree/base")
DMI = "sys/class/dmi/id"

PLACEHOLDERS = frozenset(
    (
        "",
        "default string",
        "not applicable",
        "not specified",
        "none",
        "o.e.m.",
        "system manufacturer",
        "system product name",
        "to be filled by o.e.m.",
        "unknown",
    )
)
"""Texts that makers of x86 boards leave in place of a name."""


class Board(msgspec.Struct, frozen=True):
    """A board, as the device tree, the firmware or Apple's hw.model calls it.

    `family` is our name for boards that are alike, and so equally fast: "raspberry-pi-5", "rk3588",
    "jetson-orin-nano", "apple-m2", ... None for a PC.
    """

    model: str
    compatible: tuple[str, ...] = ()
    family: str | None = None


FAMILIES = (
    ("model-zero-2", "raspberry-pi-zero-2"),
    ("p3767-0003", "jetson-orin-nano"),
    ("p3767-0004", "jetson-orin-nano-4gb"),
    ("p3767-0005", "jetson-orin-nano"),
    ("p3767", "jetson-orin-nx"),
    ("p3701", "jetson-agx-orin"),
    ("p3668", "jetson-xavier-nx"),
    ("tegra264", "jetson-thor"),
    ("tegra194", "jetson-agx-xavier"),
    ("tegra186", "jetson-tx2"),
    ("tegra210", "jetson-nano"),
)
"""Part of a name in the device tree, such as NVIDIA's module number, -> family, where the chip does not determine it.

The first match counts.
"""


PIS = (
    (r"Zero 2", "raspberry-pi-zero-2"),
    (r"Pi 3|Module 3", "raspberry-pi-3"),
    (r"Pi 4|Module 4", "raspberry-pi-4"),
    (r"Pi 5|Module 5", "raspberry-pi-5"),
)
"""Part of a Raspberry Pi's name -> family; keyboards begin with the number of the board that is in them."""


def board(root: Path) -> Board | None:
    """Return the board; None if neither device tree nor firmware has a name, as in most containers."""
    for tree in DEVICE_TREES:
        if model := read_label(root / tree / "model"):
            compatible = read_strings(root / tree / "compatible")
            return Board(model, compatible, family(compatible))
    for maker, name in (("sys_vendor", "product_name"), ("board_vendor", "board_name")):
        model = read_label(root / DMI / name)
        if model and model.lower() not in PLACEHOLDERS:
            vendor = read_label(root / DMI / maker) or ""
            if vendor.lower() in PLACEHOLDERS or model.startswith(vendor):
                return Board(model)
            return Board(f"{vendor} {model}")
    return _raspberry_pi(root)


def _raspberry_pi(root: Path) -> Board | None:
    """Return the board by what its kernel adds to /proc/cpuinfo, which Docker does not hide."""
    model = label(next((fields["Model"] for fields in cpuinfo(root).values() if "Model" in fields), None))
    if model is None:
        return None
    return Board(model, (), next((name for part, name in PIS if re.search(part, model)), None))


def family(compatible: tuple[str, ...]) -> str | None:
    for part, name in FAMILIES:
        if any(part in word for word in compatible):
            return name
    chip = soc(compatible)
    return chip.family if chip else None
