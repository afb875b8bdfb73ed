"""Power supply and throttling, as reported by a Raspberry Pi's firmware."""

from __future__ import annotations

from edgeinfer.doctor.finding import Finding, Level
from edgeinfer.doctor.thermal import COOLING_FIX
from edgeinfer.hardware.power import CAPPED, SINCE_BOOT, SOFT_LIMIT, THROTTLED, UNDER_VOLTAGE, is_set

CHECK = "power"

SUPPLIES = {"raspberry-pi-5": "5 V and 5 A", "raspberry-pi-4": "5 V and 3 A"}
DEFAULT_SUPPLY = "5 V and 2.5 A"


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
    if alarm and not is_set(bits or 0, UNDER_VOLTAGE):
        findings.insert(0, Finding(CHECK, "error", "the kernel warns that the voltage is too low", supply))
    return findings or [Finding(CHECK, "ok", "voltage is sufficient, no throttling")]


def _condition(bits: int, bit: int, text: str, fix: str, now: Level = "warning") -> list[Finding]:
    """Return the finding for a bit: of the present, else of the past."""
    if is_set(bits, bit):
        return [Finding(CHECK, now, text.format("is", ""), fix)]
    if is_set(bits, bit + SINCE_BOOT):
        past: Level = "warning" if bit == UNDER_VOLTAGE else "note"
        return [Finding(CHECK, past, text.format("was", " at some time since boot"), fix)]
    return []
