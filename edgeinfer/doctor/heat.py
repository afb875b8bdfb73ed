"""Temperatures, and what they do to the CPU."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from edgeinfer.doctor.finding import Finding
from edgeinfer.hardware.root_files import entries, read_int, read_label

CHECK = "temperature"

TRIPS = 16
"""Of a zone, that are looked at."""

LEAST, MOST = 30, 130
"""Degrees of a trip point that somebody meant: firmware has others too."""

NEAR = 5
"""Degrees."""

COOL = "give it a heat sink or a fan, and air"


class Zone(msgspec.Struct, frozen=True):
    """Degrees Celsius. At `slow` the system slows down what heats, at `off` it switches off."""

    name: str
    now: int
    slow: int | None = None
    off: int | None = None


class Brake(msgspec.Struct, frozen=True):
    """Something that slows down the CPU by steps; step 0: it does not."""

    name: str
    step: int
    most: int


def zones(root: Path) -> list[Zone]:
    return [zone for path in entries(root / "sys/class/thermal") if (zone := _zone(path))]


def _zone(path: Path) -> Zone | None:
    now = read_int(path / "temp")  # None where it is below zero, or the sensor sleeps
    if not path.name.startswith("thermal_zone") or not now:
        return None
    trips: dict[str, int] = {}
    for number in range(TRIPS):
        kind = read_label(path / f"trip_point_{number}_type")
        at = (read_int(path / f"trip_point_{number}_temp") or 0) // 1000
        if kind and LEAST <= at <= MOST:
            trips[kind] = max(
                at, trips.get(kind, at)
            )  # of several passive ones the first is a mere beginning
    off = [trips[kind] for kind in ("hot", "critical") if kind in trips]
    return Zone(
        read_label(path / "type") or path.name, now // 1000, trips.get("passive"), min(off, default=None)
    )


def brakes(root: Path) -> list[Brake]:
    return [brake for path in entries(root / "sys/class/thermal") if (brake := _brake(path))]


def _brake(path: Path) -> Brake | None:
    name = read_label(path / "type") or ""
    step, most = read_int(path / "cur_state"), read_int(path / "max_state")
    of_cpu = name == "Processor" or "cpufreq" in name
    return Brake(name, step, most) if of_cpu and step is not None and most else None


def heat(zones: list[Zone], brakes: list[Brake]) -> list[Finding]:
    """Nothing where no temperature is known."""
    found = [*_hot(zones), *_braked(brakes)]
    if found or not zones:
        return found
    warmest = max(zones, key=lambda zone: zone.now)
    return [Finding(CHECK, "ok", f"{warmest.now} °C at most ({warmest.name})")]


def _hot(zones: list[Zone]) -> Iterator[Finding]:
    for zone in zones:
        at = f"{zone.name} is at {zone.now} °C"
        if zone.off is not None and zone.now >= zone.off - NEAR:
            yield Finding(CHECK, "error", f"{at}, and at {zone.off} °C the machine switches off", COOL)
        elif zone.slow is not None and zone.now >= zone.slow:
            yield Finding(CHECK, "warning", f"{at}, and from {zone.slow} °C on the machine slows down", COOL)
        elif zone.slow is not None and zone.now >= zone.slow - NEAR:
            yield Finding(CHECK, "note", f"{at}, and from {zone.slow} °C on the machine will slow down", COOL)


def _braked(brakes: list[Brake]) -> Iterator[Finding]:
    held = [brake for brake in brakes if brake.step]
    if held:
        most = max(held, key=lambda brake: brake.step / brake.most)
        text = f"the CPU is slowed down for its heat, step {most.step} of {most.most} ({most.name})"
        yield Finding(CHECK, "warning", text, COOL)
