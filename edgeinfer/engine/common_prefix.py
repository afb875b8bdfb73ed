"""The longest common prefix of two prompts."""

from __future__ import annotations

from collections.abc import Sequence as Seq


def common_prefix(a: Seq[int], b: Seq[int]) -> int:
    """Length of the longest common prefix, by bisection over slice comparisons (which run in C)."""
    low, high = 0, min(len(a), len(b))
    if a[:high] == b[:high]:
        return high
    while high - low > 1:
        middle = (low + high) // 2
        if a[low:middle] == b[low:middle]:
            low = middle
        else:
            high = middle
    return low
