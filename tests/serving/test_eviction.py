"""Which models make room."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from edgeinfer.backends.llama_cpp.config import LlamaConfig
from edgeinfer.plan import Plan
from edgeinfer.serving.eviction import choose_evictions, is_adequate


def needs(size: int, free: int = 0) -> list[str] | None:
    """What goes for a model of `size`: "a" has 3, "b" 1 and "c" 5 of the memory, "a" goes first."""
    sizes = {"a": 3, "b": 1, "c": 5}

    def fits(leaving: Sequence[str]) -> bool:
        return size <= free + sum(sizes[name] for name in leaving)

    return choose_evictions(["a", "b", "c"], fits)


@pytest.mark.parametrize(
    ("size", "free", "expected"),
    [
        (2, 2, []),
        (3, 0, ["a"]),
        (4, 0, ["a", "b"]),
        (5, 0, ["c"]),
        (6, 0, ["b", "c"]),
        (8, 0, ["a", "c"]),
        (9, 0, ["a", "b", "c"]),
        (10, 0, None),
    ],
)
def test_the_least_recently_used_go_and_none_in_vain(
    size: int, free: int, expected: list[str] | None
) -> None:
    """A model whose memory does not help stays."""
    assert expected == needs(size, free)


def test_a_plan_may_give_up_half_of_its_answers_at_once_and_nothing_else() -> None:
    """Rather than shrink a model further, another one goes."""
    best = Plan(LlamaConfig("m", "m", parallel=8, cells=4096), [], fits=True)

    def beside(fits: bool = True, **changes: object) -> bool:
        return is_adequate(Plan(replace(best.config, **changes), [], fits=fits), best)

    assert beside(parallel=4, layout="unified", cells=2048)
    assert not beside(parallel=3)
    assert not beside(ctx=2048)
    assert not beside(kv_type="q8_0")
    assert not beside(gpu_layers=3)
    assert not beside(repack=False)
    assert not beside(fits=False)
