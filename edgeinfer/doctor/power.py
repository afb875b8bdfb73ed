"""What a Raspberry Pi's firmware says of its supply and its heat."""

from __future__ import annotations

import re
from pathlib import Path

from edgeinfer.doctor.finding import Finding, Level
from edgeinfer.hardware.root_files import entries, output, read_text

CHECK = "power"

UNDER_VOLTAGE, CAPPED, THROTTLED, SOFT_LIMIT = range(4)
"""Bits of get_throttled that hold now; 16 higher: that held at some time since the board started."""

SINCE_START = 16

COOL = "give it a heat sink or a fan, and air"
SUPPLIES = {"raspberry-pi-5": "5 V and 5 A", "raspberry-pi-4": "5 V and 3 A"}
SUPPLY = "5 V and 2.5 A"


def throttled(root: Path) -> int | None:
    """The bits; None where this is no Raspberry Pi, or it does not tell."""
    said = output(root, "vcgencmd", "vcgencmd", "get_throttled") or ""
    texts = [said, *(read_text(path / "get_throttled") or "" for path in _firmware(root))]
    matches = (re.fullmatch(r"(?:throttled=)?(?:0x)?([0-9a-fA-F]{1,8})", text.strip()) for text in texts)
    return next((int(found[1], 16) for found in matches if found), None)


def _firmware(root: Path) -> list[Path]:
    """Its node: soc/soc:firmware, on a Pi 5 soc@107c000000/soc@107c000000:firmware."""
    chips = [path for path in entries(root / "sys/devices/platform") if path.name.startswith("soc")]
    return [path for chip in chips for path in entries(chip) if path.name.endswith(":firmware")]


def alarm(root: Path) -> bool | None:
    """Of the kernel's own watch over the voltage, as it is now; None where there is none."""
    for path in entries(root / "sys/class/hwmon"):
        if read_text(path / "name") == "rpi_volt":
            return read_text(path / "in0_lcrit_alarm") == "1"
    return None


def power(bits: int | None, alarm: bool | None, family: str | None) -> list[Finding]:
    """`family`: of the board, as the hardware room calls it. Nothing where neither is known."""
    if bits is None and alarm is None:
        return []
    supply = f"use a supply of {SUPPLIES.get(family or '', SUPPLY)} with a short, thick cable, and fewer USB devices"
    found = [
        *_of(
            bits or 0,
            UNDER_VOLTAGE,
            "the voltage {} too low, which spoils cards and crashes boards",
            supply,
            "error",
        ),
        *_of(bits or 0, THROTTLED, "the board {} throttled by its firmware", f"{COOL}; check the supply too"),
        *_of(bits or 0, CAPPED, "the frequency of the CPU {} capped", f"{COOL}; check the supply too"),
        *_of(bits or 0, SOFT_LIMIT, "the board {} so warm that it ran slower", COOL),
    ]
    if alarm and not _holds(bits or 0, UNDER_VOLTAGE):
        found.insert(0, Finding(CHECK, "error", "the kernel warns that the voltage is too low", supply))
    return found or [Finding(CHECK, "ok", "enough voltage, no throttling")]


def _of(bits: int, bit: int, text: str, fix: str, now: Level = "warning") -> list[Finding]:
    """What a bit says: in the present, else of the past."""
    if _holds(bits, bit):
        return [Finding(CHECK, now, text.format("is"), fix)]
    if _holds(bits, bit + SINCE_START):
        past: Level = "warning" if bit == UNDER_VOLTAGE else "note"
        return [Finding(CHECK, past, text.format("was") + " since it started", fix)]
    return []


def _holds(bits: int, bit: int) -> bool:
    return bool(bits >> bit & 1)
