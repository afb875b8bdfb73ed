"""GET /machine: what this machine is, its memory, its temperature."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import psutil
from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from edgeinfer.hardware.memory import memory
from edgeinfer.hardware.thermal import CoolingDevice, ThermalZone, cooling_devices, thermal_zones
from edgeinfer.plan.benchmarks import BenchmarkResult
from edgeinfer.plan.calibration import Calibration
from edgeinfer.server.http.json_response import json_response
from edgeinfer.server.state import state_of

ROOT = Path("/")


class Fact(Struct):
    name: str
    text: str


class MemoryUse(Struct):
    """RAM in bytes, as far as this process may use it; null is unknown.

    Attributes:
        models: resident memory of the processes that run models.
        daemon: resident memory of the daemon itself.
    """

    total: int | None
    available: int | None
    models: int
    daemon: int


class Machine(Struct):
    """The machine that the daemon runs on.

    Attributes:
        facts: as `edgeinfer plan` shows them.
        temperatures: in degrees Celsius, of each sensor that the system has.
        throttled: the mechanisms that slow the CPU down because of heat right now.
        load: processes that compute or wait for a disk, on average of the last minute.
        calibration: what `edgeinfer bench --calibrate` has measured; null if nothing, or on another machine.
        benchmarks: what `edgeinfer bench` has measured, the last result of each model.
    """

    facts: list[Fact]
    memory: MemoryUse
    temperatures: list[ThermalZone]
    throttled: list[CoolingDevice]
    load: float
    calibration: Calibration | None
    benchmarks: Sequence[BenchmarkResult]


async def machine(request: Request) -> Response:
    """What this machine is, its memory, its temperature."""
    state = state_of(request)
    known = await state.machine.get()
    facts = [Fact(name, text) for name, text in known.facts]
    engines = [model.health for model in state.registry.served() if model.health]
    workers = [engine.pid for engine in engines if engine.pid]
    ram = memory(ROOT)
    use = MemoryUse(ram.limit or ram.total, ram.available, _resident(workers), _resident([os.getpid()]))
    throttled = [device for device in cooling_devices(ROOT) if device.state]
    return json_response(
        Machine(
            facts,
            use,
            thermal_zones(ROOT),
            throttled,
            os.getloadavg()[0],
            known.calibration,
            known.benchmarks,
        )
    )


def _resident(pids: Iterable[int]) -> int:
    total = 0
    for pid in pids:
        with contextlib.suppress(psutil.Error):  # it has just ended
            total += psutil.Process(pid).memory_info().rss
    return total
