"""Checks temperatures, and the throttling that they cause."""

from __future__ import annotations

from collections.abc import Iterator

from edgeinfer.doctor.finding import Finding
from edgeinfer.hardware.thermal import CoolingDevice, ThermalZone

CHECK = "temperature"

MARGIN = 5
"""Degrees below a trip point at which there is a finding."""

COOLING_FIX = "add a heat sink or a fan, and leave room for air"


def check_temperature(zones: list[ThermalZone], devices: list[CoolingDevice]) -> list[Finding]:
    """Check temperatures and throttling; no finding if no temperature is known."""
    findings = [*_hot(zones), *_throttled(devices)]
    if findings or not zones:
        return findings
    warmest = max(zones, key=lambda zone: zone.temperature)
    return [Finding(CHECK, "ok", f"highest: {warmest.temperature} °C ({warmest.name})")]


def _hot(zones: list[ThermalZone]) -> Iterator[Finding]:
    for zone in zones:
        reading = f"{zone.name} is at {zone.temperature} °C"
        if zone.critical is not None and zone.temperature >= zone.critical - MARGIN:
            yield Finding(
                CHECK, "error", f"{reading}; the machine shuts down at {zone.critical} °C", COOLING_FIX
            )
        elif zone.passive is not None and zone.temperature >= zone.passive:
            yield Finding(
                CHECK, "warning", f"{reading}; the machine throttles from {zone.passive} °C", COOLING_FIX
            )
        elif zone.passive is not None and zone.temperature >= zone.passive - MARGIN:
            yield Finding(
                CHECK, "note", f"{reading}; the machine will throttle from {zone.passive} °C", COOLING_FIX
            )


def _throttled(devices: list[CoolingDevice]) -> Iterator[Finding]:
    active = [device for device in devices if device.state]
    if active:
        strongest = max(active, key=lambda device: device.state / device.max_state)
        step = f"step {strongest.state} of {strongest.max_state}"
        text = f"the CPU is throttled because of heat, {step} ({strongest.name})"
        yield Finding(CHECK, "warning", text, COOLING_FIX)
