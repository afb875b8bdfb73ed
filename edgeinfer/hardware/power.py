"""Reads what a Raspberry Pi's firmware and kernel say of the power supply, and of throttling."""

from __future__ import annotations

import re
from pathlib import Path

from edgeinfer.hardware.root_files import entries, output, read_text

UNDER_VOLTAGE, CAPPED, THROTTLED, SOFT_LIMIT = range(4)
"""Bits of get_throttled for the present; 16 higher are those for the time since boot."""

SINCE_BOOT = 16


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


def is_set(bits: int, bit: int) -> bool:
    return bool(bits >> bit & 1)
