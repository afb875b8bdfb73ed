"""Holds off callers whose requests crash workers again and again."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import NamedTuple

from edgeinfer.errors import RateLimited

HOLD_SECONDS = 600.0
"""Seconds for which a crash counts, and for which a caller is held off after the last of too many."""


class Activity(NamedTuple):
    """What a caller does: a caller that is held off may still do other things.

    Attributes:
        caller: "" is a caller that is unknown, and is never held off: it may be several.
        kind: in words, such as "tokenizing".
    """

    caller: str
    kind: str


class CrashHolds:
    """Counts crashes by the caller and kind of the request that was to blame for them.

    Only crashes with one suspect count: the caller of a request that merely ran beside another is not held off.
    """

    MAX_CRASHES = 4
    """Crashes within HOLD_SECONDS after which a caller is held off: two requests that were sent to the end."""

    MAX_ACTIVITIES = 1024

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._crashes: dict[Activity, list[float]] = {}

    def add(self, activity: Activity, crashes: int) -> None:
        """Record that a request was to blame for so many crashes."""
        if not activity.caller:
            return
        times = [*self._recent(activity), *[self._clock()] * crashes]
        self._crashes[activity] = times[-self.MAX_CRASHES :]
        if len(self._crashes) > self.MAX_ACTIVITIES:
            del self._crashes[next(iter(self._crashes))]

    def check(self, activity: Activity) -> None:
        """Raises RateLimited if the caller is held off."""
        times = self._recent(activity)
        if len(times) < self.MAX_CRASHES:
            return
        wait = math.ceil(times[-1] + HOLD_SECONDS - self._clock())
        raise RateLimited(
            f"your requests have crashed the model's process {len(times)} times: {activity.kind} is refused for {wait} s",
            hint="the log says more about the crashes: edgeinfer logs",
            retry_after=wait,
        )

    def _recent(self, activity: Activity) -> list[float]:
        since = self._clock() - HOLD_SECONDS
        return [at for at in self._crashes.get(activity, ()) if at > since]
