"""What this machine is, in words, detected at most once a minute."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from edgeinfer.hardware import detect
from edgeinfer.hardware.describe import describe

MAX_AGE = 60.0
"""Seconds for which what was detected is kept: some of it takes a command to find out."""


class MachineFacts:
    """Detects the machine when somebody asks, once for all who ask at the same time."""

    def __init__(self, models: Callable[[], Path]) -> None:
        """`models`: the directory of the models."""
        self._models = models
        self._lock = asyncio.Lock()
        self._facts: Sequence[tuple[str, str]] = ()
        self._detected = -MAX_AGE

    async def get(self) -> Sequence[tuple[str, str]]:
        """Labels and texts, as `edgeinfer plan` shows them."""
        async with self._lock:
            if time.monotonic() >= self._detected + MAX_AGE:
                self._facts = await asyncio.to_thread(lambda: describe(detect(models=self._models())))
                self._detected = time.monotonic()
            return self._facts
