"""Power supply and throttling, as reported by a Raspberry Pi's firmware."""

from __future__ import annotations

import re
from pathlib import Path

from edgeinfer.doctor.finding import Finding, Level
from edgeinfer.doctor.thermal import COOLING_FIX
from edgeinfer.hardware.root_files import entries, output, read_text

CHECK = "power"

UNDER_VOLTAGE, CAPPED, THROTTLED, SOFT_LIMIT = range(4)
"""Bits of get_throttled for the present; 16 higher are those for the time since boot."""

SINCE_BOOT = 16

SUPPLIES = {"raspberry-pi-5": "5 V and 5 A", "raspberry-pi-4": "5 V and 3 A"}
DEFAULT_SUPPLY = "5 V and 2.5 A"


def throttled(root: Path) -> int | None:
    """Return the bits of get_throttled; None on other machines, or if they cannot be read."""
    tool_output = output(root, "vcgencmd", "vcgencmd", "get_throttled") or ""
    texts = [tool_output, *(read_text(path / "get_throttled") or "" for path in _firmware(root))]
    matches = (re.fullmatch(r"(?:throttled=)?(?:0x)?([0-9a-fA-F]{1,8})", text.strip()) for text in texts)
    return next((int(match[1], 16) for match in matches if match), None)


def _firmware(root: Path) -> list[Path]:
    """Return the firmware's node: soc/soc:firmware, on a Pi 5 soc@107c000000/soc@107c000000:firmware."""
    chips = [path for path in entries(root / "sys/devices/platform") if path.name.startswith("soc")]
    return [path for chip in chips for path in entries(chip) if path.name.endswith(":firmware")]


def voltage_alarm(root: Path) -> bool | None:
    """Return the kernel's own low-voltage alarm; None if there is no such sensor."""
    for path in entries(root / "sys/class/hwmon"):
        if read_text(path / "name") == "rpi_volt":
            return read_text(path / "in0_lcrit_alarm") == "1"
    return None


def check_power(bits: int | None, alarm: bool | None, family: str | None) -> list[Finding]:
    """Check voltage and throttling of a board; no finding if both are unknown."""
    if bits is None and alarm is None:
        return []
    supply = f"use a supply of {SUPPLIES.get(family or '', DEFAULT_SUPPLY)} with a short, thick cable, and fewer USB devices"
    findings = [
        *_condition(
            bits or 0,
            UNDER_VOLTAGE,
            "the voltage {} too low{}, which damages cards and crashes boards",
            supply,
            "error",
        ),
        *_condition(
            bits or 0,
            THROTTLED,
            "the firmware {} throttling the board{}",
            f"{COOLING_FIX}; check the supply too",
        ),
        *_condition(
            bits or 0,
            CAPPED,
            "the firmware {} capping the CPU frequency{}",
            f"{COOLING_FIX}; check the supply too",
        ),
        *_condition(bits or 0, SOFT_LIMIT, "the board {} warm enough to run slower{}", COOLING_FIX),
    ]
    if alarm and not _is_set(bits or 0, UNDER_VOLTAGE):
        findings.insert(0, Finding(CHECK, "error", "the kernel warns that the voltage is too low", supply))
    return findings or [Finding(CHECK, "ok", "voltage is sufficient, no throttling")]


def _condition(bits: int, bit: int, text: str, fix: str, now: Level = "warning") -> list[Finding]:
    """Return the finding for a bit: of the present, else of the past."""
    if _is_set(bits, bit):
        return [Finding(CHECK, now, text.format("is", ""), fix)]
    if _is_set(bits, bit + SINCE_BOOT):
        past: Level = "warning" if bit == UNDER_VOLTAGE else "note"
        return [Finding(CHECK, past, text.format("was", " at some time since boot"), fix)]
    return []


def _is_set(bits: int, bit: int) -> bool:
    return bool(bits >> bit & 1)
