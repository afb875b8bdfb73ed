from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeinfer.engine.common_prefix import common_prefix
from edgeinfer.engine.engine import Engine
from edgeinfer.engine.fake import FakeBackend
from edgeinfer.engine.kv_cache import KVCache, Slot
from tests.support.engine import LAYOUTS, Clock, config, decode_alone, row_after

both = pytest.mark.parametrize("layout", LAYOUTS)


class Forgetful(FakeBackend):
    """A backend that drops only whole sequences, like llama.cpp with a recurrent model."""

    def remove(self, sequence: int, start: int, end: int = -1) -> bool:
        return start in (0, self.length(sequence)) and super().remove(sequence, start, end)


class Cache:
    """A cache and its backend, driven as the engine drives them."""

    def __init__(
        self,
        layout: str,
        parallel: int = 4,
        ctx: int = 256,
        cells: int = 1024,
        kind: type[FakeBackend] = FakeBackend,
    ) -> None:
        settings = config(layout, parallel=parallel, ctx=ctx, cells=cells)
        self.backend = kind(settings)
        self.cache: KVCache = Engine(self.backend, settings, Clock()).cache

    def start(self, tokens: list[int]) -> Slot:
        slot = self.cache.admit(tokens)
        assert slot is not None
        return slot

    def compute(self, slot: Slot, tokens: list[int]) -> None:
        assert self.cache.reserve(slot, len(tokens))
        decode_alone(self.backend, slot.id, tokens)
        self.cache.commit(slot, tokens)

    def run(self, tokens: list[int]) -> Slot:
        """A running slot with all of `tokens` computed."""
        slot = self.start(tokens)
        self.compute(slot, tokens[len(slot.tokens) :])
        return slot

    def keep(self, tokens: list[int]) -> None:
        """Run to the end: `tokens` stay in an idle slot."""
        self.cache.release(self.run(tokens))

    def check(self) -> None:
        """The books balance, and every slot really holds what it says."""
        self.cache.check_integrity()
        full = self.cache.cells_used + self.cache.cells_cached == self.cache.cells
        for slot in [
            s for s in self.cache.slots if s.running and len(s.tokens) < self.cache.ctx and not full
        ]:
            row = decode_alone(self.backend, slot.id, [1])
            assert row_after([*slot.tokens, 1]).tolist() == row.tolist()
            self.backend.remove(slot.id, len(slot.tokens))


def text(n: int, seed: int = 0) -> list[int]:
    """`n` tokens that differ from those of any other seed."""
    return [200 + seed, *random.Random(seed).choices(range(200), k=n - 1)]


@given(st.lists(st.integers(0, 2), max_size=40), st.lists(st.integers(0, 2), max_size=40))
def test_the_common_prefix_is_the_longest(a: list[int], b: list[int]) -> None:
    """The bisection gives the same length as a comparison token by token."""
    n = common_prefix(a, b)
    assert a[:n] == b[:n]
    assert n == min(len(a), len(b)) or a[n] != b[n]


@both
def test_a_prefix_is_taken_over_from_an_idle_slot(layout: str) -> None:
    """Cells of a finished request serve the next one with the same prefix."""
    cache = Cache(layout)
    cache.keep(text(100))
    slot = cache.start([*text(100), 1, 2, 3])
    assert text(100) == slot.tokens
    cache.compute(slot, [1, 2, 3])
    cache.check()


@both
def test_a_prefix_is_taken_over_from_a_running_slot(layout: str) -> None:
    """A running slot shares its prefix without being disturbed."""
    cache = Cache(layout)
    source = cache.run(text(120))
    slot = cache.start([*text(90), 1, 2, 3])
    assert slot is not source
    assert text(90) == slot.tokens
    cache.compute(slot, [1, 2, 3])
    cache.compute(source, [4, 5])
    assert [*text(120), 4, 5] == source.tokens
    cache.check()


@both
def test_the_longest_of_several_prefixes_is_taken(layout: str) -> None:
    """The longest match wins over the first and the most recent one."""
    cache = Cache(layout)
    cache.keep(text(120))
    cache.keep(text(50) + text(60, seed=1))
    assert 110 == len(cache.start(text(110) + text(50, seed=2)).tokens)
    cache.check()


@both
def test_of_a_prompt_that_is_resident_the_last_token_is_computed_again(layout: str) -> None:
    """The last token is computed again, because its logits are needed."""
    cache = Cache(layout)
    cache.keep(text(100))
    assert 99 == len(cache.start(text(100)).tokens)
    assert 79 == len(cache.start(text(80)).tokens)
    cache.check()


@both
def test_resident_tells_how_much_of_a_prompt_is_there(layout: str) -> None:
    """Asking for the length of a match does not count as use."""
    cache = Cache(layout)
    cache.keep(text(100))
    assert 70 == cache.cache.num_resident([*text(70), 1])
    assert 0 == cache.cache.num_resident(text(70, seed=1))


@both
def test_the_least_recently_used_gives_way(layout: str) -> None:
    """The least recently used slot is evicted; sharing a prefix counts as use."""
    cache = Cache(layout, parallel=2, ctx=100, cells=300)  # room for three, either way
    for seed in (1, 2, 3):
        cache.keep(text(90, seed=seed))
    cache.keep(text(90, seed=1))
    cache.keep(text(90, seed=4))
    left = [cache.cache.num_resident(text(90, seed=seed)) for seed in (1, 2, 3, 4)]
    assert [90, 0, 90, 90] == left
    cache.check()


@both
def test_an_idle_slot_gives_way_before_a_request_waits(layout: str) -> None:
    """Idle slots are evicted when their cells are needed."""
    cache = Cache(layout, parallel=3, ctx=100, cells=300)
    for seed in range(9):
        cache.keep(text(90, seed=seed))
    running = [cache.run(text(90, seed=seed)) for seed in (11, 12, 13)]
    assert [90, 90, 90] == [len(slot.tokens) for slot in running]
    cache.check()


def test_in_a_pool_a_request_waits_while_there_are_no_cells() -> None:
    """A request without room gets None, and gets a slot once another ends."""
    cache = Cache("unified", ctx=200, cells=300)
    running = cache.run(text(180))
    assert cache.cache.admit(text(150, seed=1)) is None
    cache.check()
    cache.cache.release(running)
    assert cache.cache.admit(text(150, seed=1)) is not None
    cache.check()


def test_in_a_pool_a_shared_prefix_needs_no_room_again() -> None:
    """A shared prefix lets a request fit that would not fit alone."""
    cache = Cache("unified", ctx=200, cells=300)
    cache.run(text(180))
    slot = cache.start([*text(180), 1])
    cache.compute(slot, [1])
    assert 181 == cache.cache.cells_used
    cache.check()


def test_shared_cells_are_free_when_the_last_that_holds_them_lets_go() -> None:
    """Shared cells are freed by the last slot that holds them."""
    cache = Cache("unified")
    slots = [cache.run([*text(100), i]) for i in range(3)]
    assert 103 == cache.cache.cells_used
    for slot in slots[:2]:
        cache.cache.release(slot)
        cache.cache.trim(slot, 0)
        cache.check()
    assert 101 == cache.cache.cells_used
    cache.cache.release(slots[2])
    cache.cache.trim(slots[2], 0)
    assert (0, 0) == (cache.cache.cells_used, cache.cache.cells_cached)
    cache.check()


@both
def test_cells_of_running_and_of_idle_slots_are_told_apart(layout: str) -> None:
    """Cells held only by idle slots can be evicted."""
    cache = Cache(layout)
    cache.keep(text(100))
    cache.run(text(80, seed=1))
    assert (80, 100) == (cache.cache.cells_used, cache.cache.cells_cached)


def test_in_a_pool_reserve_evicts_idle_slots_and_then_gives_up() -> None:
    """A running slot is never evicted for another."""
    cache = Cache("unified", ctx=256, cells=300)
    cache.keep(text(60, seed=1))
    first, second = cache.run(text(100, seed=2)), cache.run(text(100, seed=3))
    assert cache.cache.reserve(first, 100)
    assert 0 == cache.cache.num_resident(text(60, seed=1))
    assert not cache.cache.reserve(first, 101)
    assert [100, 100] == [len(first.tokens), len(second.tokens)]
    cache.check()


@both
def test_nothing_is_reserved_beyond_the_context(layout: str) -> None:
    """A slot cannot grow beyond `ctx` cells."""
    cache = Cache(layout, ctx=100, cells=1000)
    slot = cache.run(text(90))
    assert cache.cache.reserve(slot, 10)
    assert not cache.cache.reserve(slot, 11)


def test_with_streams_no_more_requests_start_than_may_run() -> None:
    """The extra slot keeps idle cells while all others run."""
    cache = Cache("streams", parallel=2)
    assert 3 == len(cache.cache.slots)
    for seed in range(3):
        cache.run(text(20, seed=seed))
    assert cache.cache.admit(text(20, seed=4)) is None


@both
def test_trimming_keeps_the_beginning(layout: str) -> None:
    """Trimming drops cells in the record and in the backend."""
    cache = Cache(layout)
    slot = cache.run(text(100))
    cache.cache.trim(slot, 40)
    assert text(100)[:40] == slot.tokens
    cache.check()


@both
def test_trimming_drops_what_a_failed_decode_left_behind(layout: str) -> None:
    """Trimming drops cells that were never committed."""
    cache = Cache(layout)
    slot = cache.run(text(50))
    decode_alone(cache.backend, slot.id, [1, 2, 3])
    cache.cache.trim(slot, 50)
    assert 50 == len(slot.tokens)
    cache.check()


@both
def test_a_model_that_cannot_forget_a_part_forgets_all(layout: str) -> None:
    """With such a model only whole slots can be reused, and the record agrees."""
    cache = Cache(layout, kind=Forgetful)
    slot = cache.run(text(100))
    cache.cache.trim(slot, 40)
    assert [] == slot.tokens
    cache.check()


@both
def test_a_model_that_cannot_forget_a_part_still_answers_rightly(layout: str) -> None:
    """A shorter prefix cannot be cut out of an idle slot of such a model."""
    cache = Cache(layout, parallel=1, kind=Forgetful)
    cache.keep(text(100))
    cache.keep([*text(60), 1, 2, 3])
    cache.keep([*text(60), 1, 2, 3, 4])
    cache.run([*text(100), 7])
    cache.check()


@both
def test_books_that_do_not_balance_are_told(layout: str) -> None:
    """check_integrity finds records that differ from the backend."""
    cache = Cache(layout)
    slot = cache.run(text(50))
    cache.backend.remove(slot.id, 49)
    with pytest.raises(AssertionError):
        cache.cache.check_integrity()


def ids(cache: KVCache) -> list[int]:
    return sorted(slot.id for slot in cache.slots if slot.running)


def is_contiguous(ids: list[int]) -> bool:
    return not ids or ids[-1] - ids[0] + 1 == len(ids)


def test_compaction_makes_running_slots_neighbours() -> None:
    """Compacting makes running slots neighbours."""
    cache = Cache("streams", parallel=6)
    slots = [cache.run(text(60 + seed, seed=seed)) for seed in range(6)]
    for slot in (slots[1], slots[2], slots[4]):
        cache.cache.release(slot)
    assert not is_contiguous(ids(cache.cache))
    held = [list(slots[i].tokens) for i in (0, 3, 5)]
    cache.cache.compact()
    assert is_contiguous(ids(cache.cache))
    assert held == [slots[i].tokens for i in (0, 3, 5)]
    cache.check()


def test_compaction_costs_one_cached_prompt_at_most() -> None:
    """The content of a gap moves to an empty slot; the least recently used slot is emptied for it."""
    cache = Cache("streams", parallel=5)
    slots = [cache.run(text(60, seed=seed)) for seed in range(6)]
    for i in (3, 1, 2, 4):
        cache.cache.release(slots[i])
    cache.cache.compact()
    assert is_contiguous(ids(cache.cache))
    resident = [seed for seed in range(6) if cache.cache.num_resident(text(60, seed=seed)) == 60]
    assert [0, 1, 2, 4, 5] == resident
    cache.check()


def test_compaction_leaves_neighbours_where_they_are() -> None:
    """Slots without gaps are not moved."""
    cache = Cache("streams", parallel=4)
    slots = [cache.run(text(60, seed=seed)) for seed in range(4)]
    before = [slot.id for slot in slots]
    cache.cache.compact()
    assert before == [slot.id for slot in slots]


@given(st.lists(st.integers(0, 7), min_size=1, max_size=8, unique=True), st.booleans())
def test_from_any_gaps_compaction_makes_neighbours_and_loses_nothing_that_runs(
    running: list[int], full: bool
) -> None:
    """Compacting closes all gaps, whichever slots run."""
    cache = Cache("streams", parallel=7)
    slots = [cache.run(text(20 + seed, seed=seed)) for seed in range(8)]
    for i in set(range(8)) - set(running):
        cache.cache.release(slots[i])
        if not full:
            cache.cache.trim(slots[i], 0)
    held = {i: list(slots[i].tokens) for i in running}
    cache.cache.compact()
    assert is_contiguous(ids(cache.cache))
    assert held == {i: slots[i].tokens for i in running}
    assert list(range(8)) == sorted(slot.id for slot in cache.cache.slots)
    cache.check()


@both
def test_any_course_of_events_keeps_the_books_in_balance(layout: str) -> None:
    """Requests with common prefixes arrive, grow, are trimmed and end in any order."""
    for seed in range(12):
        chance = random.Random(seed)
        cache = Cache(layout, parallel=3, ctx=64, cells=150)
        running: list[Slot] = []
        for _ in range(60):
            event = chance.random()
            if event < 0.5 and len(running) < 3:
                prompt = text(60, seed=chance.randrange(3))[: chance.randrange(1, 60)]
                prompt += chance.choices(range(200), k=chance.randrange(1, 4))
                if slot := cache.cache.admit(prompt):
                    running.append(slot)
                    cache.compute(slot, prompt[len(slot.tokens) :])
            elif event < 0.8 and running:
                slot = chance.choice(running)
                if cache.cache.reserve(slot, 1):
                    cache.compute(slot, [chance.randrange(200)])
            elif event < 0.9 and running:
                slot = chance.choice(running)
                cache.cache.trim(slot, chance.randrange(len(slot.tokens) + 1))
            elif running:
                cache.cache.release(running.pop(chance.randrange(len(running))))
            cache.cache.compact()
            cache.check()
