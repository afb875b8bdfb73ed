"""Computes masks during a decode, while the engine's thread waits for the model anyway."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from edgeinfer.engine.structured.constraint import Constraint


class MaskPrefetcher:
    """Owns one additional thread, started on first use. llguidance works without the GIL."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "masks")

    @contextmanager
    def prefetch(self, constraints: Iterable[Constraint | None]) -> Iterator[None]:
        """While the body runs, compute the masks that will probably be needed after it."""
        wanting = [c for c in constraints if c and c.wants_mask]
        if not wanting:
            yield
            return
        computation = self._thread.submit(_compute_masks, wanting)
        try:
            yield
        finally:
            computation.result()


def _compute_masks(constraints: list[Constraint]) -> None:
    for constraint in constraints:
        constraint.compute_mask()
