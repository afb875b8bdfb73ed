"""Measures one server, or two in turns, and says how sure the difference is."""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Sequence

import msgspec

from edgeinfer.bench.openai_server import OpenAIServer, Refused
from edgeinfer.bench.scenarios import SCENARIOS, BenchLoad

CONFIDENCE = 0.95
"""What an interval has at least, where there are enough rounds: six."""


class Figures(msgspec.Struct, frozen=True):
    """What one server reached, round by round. `refused`: why it was not measured."""

    values: list[float] = []
    median: float | None = None
    refused: str | None = None


class Speedup(msgspec.Struct, frozen=True):
    """How many times as fast the first server is: above 1 it is the faster one, also where the figure is a time.

    Attributes:
        median: of the rounds' ratios.
        low, high: the interval in which the true median lies with this confidence, by the sign test: it assumes
            nothing about how the ratios are distributed. None after a single round.
    """

    median: float
    low: float | None = None
    high: float | None = None
    confidence: float | None = None

    @property
    def certain(self) -> bool:
        """Whether 1 is outside of the interval."""
        return self.low is not None and self.high is not None and (self.low > 1 or self.high < 1)


class ScenarioResult(msgspec.Struct, frozen=True):
    """A scenario's figures, of each server; `speedup` if there are two and both were measured."""

    name: str
    unit: str
    higher_is_better: bool
    servers: list[Figures]
    speedup: Speedup | None = None


async def measure_scenario(
    name: str, servers: Sequence[OpenAIServer], rounds: int, load: BenchLoad, seed: int
) -> ScenarioResult:
    """Measure one scenario. Both servers get the same prompts, and in every other round the second one begins."""
    scenario = SCENARIOS[name]
    values: list[list[float]] = [[] for _ in servers]
    refused: list[str | None] = [None for _ in servers]
    for number in range(rounds):
        order = range(len(servers))
        for which in reversed(order) if number % 2 else order:
            if refused[which] is not None:
                continue
            chance = random.Random(f"{seed} {name} {number}")
            try:
                values[which].append(await scenario.measure(servers[which], chance, load))
            except Refused as e:
                refused[which] = e.message
    figures = [
        Figures(refused=reason) if reason is not None else Figures(found, statistics.median(found))
        for found, reason in zip(values, refused, strict=True)
    ]
    ratio = None
    if len(servers) == 2 and refused == [None, None]:
        pairs = zip(*values, strict=True)
        ratio = speedup([a / b if scenario.rate else b / a for a, b in pairs])
    return ScenarioResult(name, scenario.unit, scenario.rate, figures, ratio)


def speedup(ratios: Sequence[float]) -> Speedup:
    """Return the median of paired ratios and its interval."""
    ordered = sorted(ratios)
    median, count = statistics.median(ordered), len(ordered)
    if count < 2:
        return Speedup(median)
    left_out = max((k for k in range(count // 2) if coverage(count, k) >= CONFIDENCE), default=0)
    return Speedup(median, ordered[left_out], ordered[-1 - left_out], coverage(count, left_out))


def coverage(count: int, left_out: int) -> float:
    """Return how probably a median lies between the samples that remain without so many at each end."""
    return 1 - sum(math.comb(count, below) for below in range(left_out + 1)) / 2.0 ** (count - 1)
