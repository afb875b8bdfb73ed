"""Temperatures, and whether the CPU is throttled because of them."""

from __future__ import annotations

from pathlib import Path

import msgspec

from edgeinfer.hardware.root_files import entries, read_int, read_label

MAX_TRIP_POINTS = 16
"""Trip points of a zone that are read."""

MIN_TRIP, MAX_TRIP = 30, 130
"""Plausible degrees of a trip point: firmware also reports others."""


class ThermalZone(msgspec.Struct, frozen=True):
    """A temperature sensor and its trip points, in degrees Celsius.

    Attributes:
        passive: the system throttles at this temperature.
        critical: the system shuts down at this temperature.
    """

    name: str
    temperature: int
    passive: int | None = None
    critical: int | None = None


class CoolingDevice(msgspec.Struct, frozen=True):
    """A mechanism that throttles the CPU in steps; in state 0 it does not."""

    name: str
    state: int
    max_state: int


def thermal_zones(root: Path) -> list[ThermalZone]:
    return [zone for path in entries(root / "sys/class/thermal") if (zone := _zone(path))]


def _zone(path: Path) -> ThermalZone | None:
    now = read_int(path / "temp")  # None where it is below zero, or the sensor sleeps
    if not path.name.startswith("thermal_zone") or not now:
        return None
    trips: dict[str, int] = {}
    for number in range(MAX_TRIP_POINTS):
        kind = read_label(path / f"trip_point_{number}_type")
        at = (read_int(path / f"trip_point_{number}_temp") or 0) // 1000
        if kind and MIN_TRIP <= at <= MAX_TRIP:
            trips[kind] = max(at, trips.get(kind, at))  # the first of several passive ones does little
    critical = [trips[kind] for kind in ("hot", "critical") if kind in trips]
    return ThermalZone(
        read_label(path / "type") or path.name, now // 1000, trips.get("passive"), min(critical, default=None)
    )


def cooling_devices(root: Path) -> list[CoolingDevice]:
    return [device for path in entries(root / "sys/class/thermal") if (device := _cooling_device(path))]


def _cooling_device(path: Path) -> CoolingDevice | None:
    name = read_label(path / "type") or ""
    state, max_state = read_int(path / "cur_state"), read_int(path / "max_state")
    of_cpu = name == "Processor" or "cpufreq" in name
    return CoolingDevice(name, state, max_state) if of_cpu and state is not None and max_state else None
