"""Masks computed while the model is: the engine's thread waits for the model anyway."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from edgeinfer.engine.structured.constraint import Constraint


class MaskPrefetcher:
    """One thread beside the engine's, started when it is first needed. llguidance works without the GIL."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "masks")

    @contextmanager
    def ahead(self, constraints: Iterable[Constraint | None]) -> Iterator[None]:
        """While the body runs, compute the masks that will probably be wanted after it."""
        wanting = [c for c in constraints if c and c.wants_mask]
        if not wanting:
            yield
            return
        done = self._thread.submit(_prepare, wanting)
        try:
            yield
        finally:
            done.result()


def _prepare(constraints: list[Constraint]) -> None:
    for constraint in constraints:
        constraint.prepare()
