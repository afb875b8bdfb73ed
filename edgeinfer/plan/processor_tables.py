"""Reads the tables of processors and their memory bandwidth: `data/cpus.toml` and `data/gpus.toml`."""

from __future__ import annotations

import functools
import re
import sys
from pathlib import Path
from typing import TypeVar

import msgspec

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

T = TypeVar("T")
DIRECTORY = Path(__file__).parent / "data"


class CoreRate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """GB/s that a core reads for each GHz, and the most that all cores get from the memory."""

    rate: float
    max: float


class ServerRate(CoreRate, frozen=True, forbid_unknown_fields=True):
    """A rate for processors with that pattern in their names."""

    processor: str


class InstructionsRate(CoreRate, frozen=True, forbid_unknown_fields=True):
    """A rate for cores that have all of these instruction sets."""

    isa: list[str]


class MeasuredRate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """GB/s that `cores` cores of one machine read, of a board's `family` or a `processor` by its name."""

    cores: int
    rate: float
    note: str
    family: str | None = None
    processor: str | None = None
    core: str | None = None


class CpuTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Rates of CPUs, the most certain first."""

    measured: list[MeasuredRate]
    cores: dict[str, CoreRate]
    servers: list[ServerRate]
    instructions: list[InstructionsRate]


MAX_DIFFERENCE = 0.1
"""Share by which the memory that a driver reports may differ from what is printed on the box."""

CardRate = int | dict[int, int]
"""GB/s; where cards of one name differ, by the GB of their memory."""


class GpuSeries(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Cards of one generation. `share` is the part of the bandwidth that llama.cpp reaches."""

    name: str
    vendor: str
    share: float
    desktop: dict[str, CardRate]
    laptop: dict[str, CardRate] = {}
    compute: str | None = None


class GpuTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Bandwidth of GPUs in GB/s. `unknown` has that of the slowest card by the GB of its memory."""

    series: list[GpuSeries]
    unknown: dict[int, int]
    apple: dict[str, int]
    jetson: dict[str, int]


class Card(msgspec.Struct, frozen=True):
    """The row of a card, with the series it is in."""

    series: GpuSeries
    rate: CardRate

    def peak(self, gigabytes: float) -> int:
        """Return GB/s; the lowest figure if cards differ and the size of the memory does not decide."""
        if isinstance(self.rate, int):
            return self.rate
        size = min(self.rate, key=lambda size: abs(size - gigabytes))
        return self.rate[size] if abs(size - gigabytes) < MAX_DIFFERENCE * size else min(self.rate.values())


@functools.cache
def cpu_table() -> CpuTable:
    return _table("cpus.toml", CpuTable)


@functools.cache
def gpu_table() -> GpuTable:
    return _table("gpus.toml", GpuTable)


def _table(name: str, kind: type[T]) -> T:
    tables = tomllib.loads((DIRECTORY / name).read_text(encoding="utf-8"))
    return msgspec.convert(tables, kind, strict=False)  # the keys of TOML are texts


def words(name: str) -> tuple[str, ...]:
    """Split a name such as "NVIDIA A100-SXM4-40GB" into words that can be compared."""
    return tuple(re.findall(r"[a-z0-9.]+", name.lower()))


MOBILE = frozenset(("laptop", "max", "mobile"))
"""Words in the names of laptop cards: "Laptop GPU", "with Max-Q Design", "Mobile"."""


@functools.cache
def find_card(vendor: str, name: str) -> Card | None:
    """Find the card whose name in the table has the most words in common with `name`; None if none is there."""
    own = words(name)
    mobile = not MOBILE.isdisjoint(own)
    best: tuple[int, Card] | None = None
    for series in gpu_table().series:
        if series.vendor != vendor:
            continue
        rows = series.laptop if mobile else {**series.laptop, **series.desktop}
        for row, rate in rows.items():
            size = len(words(row))
            if (best is None or size > best[0]) and _contains(own, words(row)):
                best = size, Card(series, rate)
    return best[1] if best else None


def _contains(name: tuple[str, ...], part: tuple[str, ...]) -> bool:
    return any(name[i : i + len(part)] == part for i in range(len(name) - len(part) + 1))
