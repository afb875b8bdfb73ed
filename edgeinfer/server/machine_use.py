"""What this machine has in use now, read by a thread, at most every few seconds."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from msgspec import Struct

from edgeinfer.hardware.gpu_use import GpuUse, gpu_uses
from edgeinfer.hardware.memory import Memory, memory
from edgeinfer.hardware.power import (
    CAPPED,
    SOFT_LIMIT,
    THROTTLED,
    UNDER_VOLTAGE,
    is_set,
    throttled,
    voltage_alarm,
)
from edgeinfer.hardware.thermal import ThermalZone, cooling_devices, thermal_zones

ROOT = Path("/")

MAX_AGE = 5.0
"""Seconds for which a reading is good."""

PATIENCE = 2.0
"""Seconds that a scrape waits for a new reading; Prometheus itself waits ten."""

MAX_STALE = 60.0
"""Seconds after which an old reading is not shown any more: what reads it hangs."""

FIRMWARE = {
    UNDER_VOLTAGE: "under-voltage",
    CAPPED: "frequency-cap",
    THROTTLED: "firmware",
    SOFT_LIMIT: "soft-temperature-limit",
}
"""What a Raspberry Pi's firmware slows the board down for."""


class Disk(Struct, frozen=True):
    """The file system of the models, in bytes; `free` is what the daemon's user may still write."""

    size: int
    free: int


class MachineReading(Struct, frozen=True):
    """What is in use.

    Attributes:
        read: seconds since 1970.
        throttled: mechanism -> whether it slows the machine down now.
        disk: None if the models' directory cannot be reached.
    """

    read: float
    memory: Memory
    gpus: list[GpuUse]
    zones: list[ThermalZone]
    throttled: dict[str, bool]
    disk: Disk | None


class MachineUse:
    """Keeps the last reading."""

    def __init__(self, models: Callable[[], Path], root: Path = ROOT) -> None:
        """`models`: the directory of the models. `root`: of a recorded machine."""
        self._models = models
        self._root = root
        self._reading: MachineReading | None = None
        self._read = -float("inf")
        self._running: asyncio.Task[None] | None = None

    @property
    def last(self) -> MachineReading | None:
        """The last reading; None before the first, or if nothing could be read for a minute."""
        return self._reading if time.monotonic() < self._read + MAX_STALE else None

    async def refresh(self) -> None:
        """Read again what is too old, once for all who ask; whoever asks waits no longer than `PATIENCE`."""
        if time.monotonic() < self._read + MAX_AGE:
            return
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._refresh())
        await asyncio.wait([self._running], timeout=PATIENCE)

    async def _refresh(self) -> None:
        self._reading = await asyncio.to_thread(read_machine, self._root, self._models())
        self._read = time.monotonic()


def read_machine(root: Path, models: Path) -> MachineReading:
    """Read everything; this may take seconds."""
    return MachineReading(
        time.time(),
        memory(root),
        gpu_uses(root),
        thermal_zones(root),
        dict(sorted(_throttled(root))),
        _disk(models),
    )


def _throttled(root: Path) -> Iterable[tuple[str, bool]]:
    states: dict[str, bool] = {}
    for device in cooling_devices(root):
        states[device.name] = states.get(device.name, False) or device.state > 0
    bits, alarm = throttled(root), voltage_alarm(root)
    if bits is not None:
        states |= {name: is_set(bits, bit) for bit, name in FIRMWARE.items()}
    if alarm is not None:
        states["under-voltage"] = states.get("under-voltage", False) or alarm
    return states.items()


def _disk(path: Path) -> Disk | None:
    """The disk of a directory that need not exist yet."""
    for level in (path, *path.parents):
        try:
            use = shutil.disk_usage(level)
        except FileNotFoundError:
            continue
        except OSError:
            return None
        return Disk(use.total, use.free)
    return None
