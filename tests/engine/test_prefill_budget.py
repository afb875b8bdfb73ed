from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from edgeinfer.engine.prefill_budget import PrefillBudget


def learnt(
    step_ms: float, *, decode_ms: float = 10.0, token_ms: float = 1.0, longest: int = 512
) -> PrefillBudget:
    """A budget that has seen enough steps to know these costs."""
    pace = PrefillBudget(step_ms, longest)
    for _ in range(50):
        pace.record(4, 0, decode_ms)
        pace.record(4, 100, decode_ms + 100 * token_ms)
    return pace


def test_a_prompt_is_read_in_the_longest_chunks_while_nothing_streams() -> None:
    """Without running answers the chunk is the whole batch."""
    assert 512 == learnt(50.0).chunk(0)


def test_beside_running_answers_a_chunk_fits_the_step() -> None:
    """The chunk fits into the time that the decode step leaves."""
    assert abs(190 - learnt(200.0).chunk(4)) <= 2


def test_a_chunk_is_never_longer_than_a_batch() -> None:
    """The chunk never exceeds the batch, however fast the machine."""
    assert 64 == learnt(1e6, longest=64).chunk(1)


def test_a_chunk_is_never_shorter_than_the_smallest() -> None:
    """The chunk never falls below its minimum, so every prompt ends."""
    assert PrefillBudget.MIN_CHUNK == learnt(10.0, decode_ms=500.0).chunk(8)


def test_a_batch_shorter_than_the_smallest_chunk_bounds_it() -> None:
    """A batch below the minimum chunk is the limit."""
    assert 8 == learnt(10.0, decode_ms=500.0, longest=8).chunk(8)


def test_before_anything_is_measured_chunks_beside_answers_are_careful() -> None:
    """The first chunk beside running answers has a middle length."""
    assert PrefillBudget.MIN_CHUNK <= PrefillBudget(200.0, 2048).chunk(1) < 2048


def test_a_slower_machine_makes_chunks_shorter() -> None:
    """The estimate follows new measurements, since the machine may become busy."""
    pace = learnt(200.0)
    before = pace.chunk(4)
    for _ in range(10):
        pace.record(4, 100, 10.0 + 100 * 4.0)
    assert pace.chunk(4) < before


@given(
    st.floats(10, 1e4),
    st.integers(8, 4096),
    st.lists(st.tuples(st.integers(0, 64), st.integers(0, 512), st.floats(0, 1e5)), max_size=20),
    st.integers(0, 64),
)
@example(10.0, 512, [(0, 64, 1e-320)], 1)
def test_whatever_is_measured_a_chunk_stays_in_its_bounds(
    step_ms: float, longest: int, steps: list[tuple[int, int, float]], decoding: int
) -> None:
    """Any measurements give a valid chunk, even from a clock that stands still."""
    pace = PrefillBudget(step_ms, longest)
    for seen in steps:
        pace.record(*seen)
    assert min(PrefillBudget.MIN_CHUNK, longest) <= pace.chunk(decoding) <= longest
