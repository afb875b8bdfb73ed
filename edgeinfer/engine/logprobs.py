"""Computes log-probabilities."""

from __future__ import annotations

import math

import numpy as np

from edgeinfer.engine.backend import Row


def log_probabilities(row: Row, chosen: int, k: int) -> tuple[float, list[tuple[int, float]]]:
    """The log-probability of `chosen`, and the `k` most likely tokens with theirs. `row` is the raw logits."""
    best = float(row.max())
    total = best + math.log(float(np.exp(row - best).sum(dtype=np.float64)))
    top: list[tuple[int, float]] = []
    if k:
        candidates = np.argpartition(-row, k - 1)[:k] if k < len(row) else np.arange(len(row))
        candidates = candidates[np.argsort(-row[candidates], kind="stable")]
        top = [(int(t), float(row[t]) - total) for t in candidates]
    return float(row[chosen]) - total, top
