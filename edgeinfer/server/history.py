"""What the daemon has done in the last minutes, for those who begin to look."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence

from msgspec import Struct

from edgeinfer.inference.output import EngineStats

INTERVAL = 2.0
"""Seconds between two samples."""

MAX_SAMPLES = 150


class Sample(Struct, frozen=True):
    """One moment, of all models together.

    Attributes:
        at: seconds since 1970.
        generated, computed, cached: tokens per second since the sample before: of answers, and of prompts that were
            computed or found in the cache.
        running, waiting: answers.
        cells: percent of the KV cells that are in use.
        warmest: the highest temperature in degrees Celsius; null if there is no sensor.
    """

    at: float
    generated: float
    computed: float
    cached: float
    running: int
    waiting: int
    cells: float
    warmest: int | None


class RecentActivity:
    """Keeps the last samples.

    Attributes:
        samples: the oldest first.
    """

    def __init__(
        self,
        stats: Callable[[], Iterable[EngineStats]],
        warmest: Callable[[], int | None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`stats`: of each model. `warmest`: the highest temperature now."""
        self._stats = stats
        self._warmest = warmest
        self._clock = clock
        self._samples: deque[Sample] = deque(maxlen=MAX_SAMPLES)
        self._last: tuple[float, tuple[int, int, int]] | None = None

    @property
    def samples(self) -> Sequence[Sample]:
        return tuple(self._samples)

    async def run(self) -> None:
        """Take samples until cancelled."""
        while True:
            self.take()
            await asyncio.sleep(INTERVAL)

    def take(self) -> None:
        """Take a sample; the first look only counts."""
        now, stats = self._clock(), list(self._stats())
        totals = (
            sum(one.completion_tokens_total for one in stats),
            sum(one.prompt_tokens_total for one in stats),
            sum(one.cached_tokens_total for one in stats),
        )
        last, self._last = self._last, (now, totals)
        if last is None or now <= last[0]:  # the clock was set back
            return
        generated, computed, cached = (
            round(max(0, total - before) / (now - last[0]), 2)
            for total, before in zip(totals, last[1], strict=True)
        )
        cells, used = sum(one.cells for one in stats), sum(one.cells_used for one in stats)
        self._samples.append(
            Sample(
                round(now, 2),
                generated,
                computed,
                cached,
                sum(one.running for one in stats),
                sum(one.waiting for one in stats),
                round(100 * used / cells, 1) if cells else 0.0,
                self._warmest(),
            )
        )
