"""What had to make room in the KV cache comes back from RAM, complete, and only to those who may use it."""

from __future__ import annotations

import random
from typing import Any

import pytest

from edgeinfer.engine.backend import SavedState
from edgeinfer.engine.fake import FakeBackend
from edgeinfer.engine.ram_cache import RamCache
from edgeinfer.inference.output import EngineStats
from tests.support.engine import LAYOUTS, Driver, assert_clean, config, plain

both = pytest.mark.parametrize("layout", LAYOUTS)
MIN = RamCache.MIN_TOKENS


class Recurrent(FakeBackend):
    """Holds one state for all tokens of a sequence: parts of it cannot be dropped."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.removes_tails = False

    def remove(self, sequence: int, start: int, end: int = -1) -> bool:
        return start in (0, self.length(sequence)) and super().remove(sequence, start, end)


class Unsaving(FakeBackend):
    """Has no memory for what is to be saved."""

    def save(self, sequence: int, buffer: memoryview | None = None) -> SavedState:
        return b""


class Unloading(FakeBackend):
    """Loads nothing."""

    def restore(self, sequence: int, data: SavedState) -> bool:
        return False


class Counting(FakeBackend):
    """Counts what is saved."""

    saves = 0

    def save(self, sequence: int, buffer: memoryview | None = None) -> SavedState:
        self.saves += 1
        return super().save(sequence, buffer)


def crowded(layout: str, kind: type[FakeBackend] = FakeBackend, ram_cache_mb: int = 1) -> Driver:
    """An engine whose KV cache has room for two conversations, one of them running."""
    settings = config(layout, ctx=256, parallel=1, cells=340, ram_cache_mb=ram_cache_mb)
    return Driver(settings, kind(settings))


def text(seed: int, n: int = 150) -> str:
    return "".join(random.Random(seed).choices("abcdefghij ", k=n))


def ask(driver: Driver, prompt: str, domain: str = "", max_tokens: int = 8) -> tuple[str, int]:
    """Answer alone; -> the text, which is checked, and how many tokens of the prompt came from a cache."""
    id = len(driver.answers)
    driver.add(id, prompt, cache_domain=domain, max_tokens=max_tokens, seed=1, ignore_eos=True)
    driver.run()
    assert_clean(driver)
    answer = driver.answers[id, 0]
    assert answer.text == plain(prompt, max_tokens=max_tokens, seed=1, ignore_eos=True)
    return answer.text, answer.finish.cached_tokens


def fill(driver: Driver, *seeds: int, n: int = 150) -> None:
    """Have other prompts answered."""
    for seed in seeds:
        ask(driver, text(seed, n))


def stats(driver: Driver) -> EngineStats:
    return driver.engine.stats()


@both
def test_a_conversation_comes_back_after_others_took_its_place(layout: str) -> None:
    """All that it had computed is there again: its prompt, and its answer but for the last token."""
    driver = crowded(layout)
    answer, _ = ask(driver, text(0))
    fill(driver, 1, 2, 3)
    _, cached = ask(driver, text(0) + answer + " And now?")
    assert cached == 150 + len(answer) - 1
    assert (1, cached) == (stats(driver).ram_cache_hits_total, stats(driver).ram_cache_tokens_total)


@both
def test_without_a_limit_in_megabytes_nothing_is_kept(layout: str) -> None:
    driver = crowded(layout, Counting, ram_cache_mb=0)
    ask(driver, text(0))
    fill(driver, 1, 2, 3)
    assert 0 == ask(driver, text(0))[1]
    assert 0 == driver.backend.saves == stats(driver).ram_cache_bytes  # type: ignore[attr-defined]


@both
def test_it_is_cut_to_what_a_prompt_has_in_common_with_it(layout: str) -> None:
    """What comes back is trimmed, and can come back once more whole."""
    driver = crowded(layout)
    ask(driver, text(0))
    fill(driver, 1, 2)
    assert 80 == ask(driver, text(0)[:80] + "!" + text(7, 60))[1]
    fill(driver, 3, 4)
    assert 149 == ask(driver, text(0))[1]


@both
def test_a_short_prefix_is_computed_again(layout: str) -> None:
    """It is neither saved, nor copied back for what a longer one would have."""
    driver = crowded(layout, Counting)
    fill(driver, *range(4), n=MIN - 10)
    assert 0 == driver.backend.saves  # type: ignore[attr-defined]
    ask(driver, text(10))
    fill(driver, 11, 12)
    assert 0 == ask(driver, text(10)[: MIN - 1] + "!" * 50)[1]


@both
def test_what_is_resident_is_preferred_unless_much_is_gained(layout: str) -> None:
    driver = crowded(layout)
    system = text(0, 100)
    ask(driver, system + text(1, MIN - 20), max_tokens=1)
    fill(driver, 2, 3)
    ask(driver, system + text(4, 100), max_tokens=1)
    hits = stats(driver).ram_cache_hits_total
    assert 100 == ask(driver, system + text(1, MIN - 20))[1]
    assert hits == stats(driver).ram_cache_hits_total


@both
def test_conversations_with_the_same_beginning_do_not_overwrite_each_other(layout: str) -> None:
    """In a stream the second takes over the first one's cells, and what it cuts off comes back."""
    driver = crowded(layout)
    system = text(0, 110)
    for turn in range(3):
        cached = [ask(driver, system + text(seed, 90) + "?" * turn)[1] for seed in (1, 2, 3)]
    assert all(n >= 200 for n in cached)


@both
def test_an_answer_that_the_next_prompt_leaves_out_is_not_kept(layout: str) -> None:
    """Templates drop what a model thought; nobody will ask for it."""
    driver = crowded(layout, Counting)
    for turn in range(4):
        ask(driver, text(0, 100) + "?" * turn, max_tokens=100)
    assert 0 == driver.backend.saves  # type: ignore[attr-defined]


@both
def test_nothing_crosses_cache_domains(layout: str) -> None:
    """Neither the text nor the time of an answer tells what another caller has asked."""
    driver = crowded(layout)
    ask(driver, text(0), domain="alice")
    fill(driver, 1, 2)
    assert 0 == ask(driver, text(0), domain="bob")[1]
    assert 149 == ask(driver, text(0), domain="alice")[1]


@both
def test_the_least_recently_used_goes_first(layout: str) -> None:
    driver = crowded(layout)
    cache = driver.engine.cache.ram_cache
    cache._capacity = 4 * 4 * 160  # the fake takes four bytes for a token
    fill(driver, *range(7))
    assert cache.bytes <= cache._capacity
    kept = [cache.longest([ord(c) for c in text(seed)], "")[1] for seed in range(7)]
    assert [0, 150, 150, 150, 150, 0, 0] == kept  # the last two are resident
    ask(driver, text(1) + "!")
    fill(driver, 8)
    assert 150 == driver.engine.cache.num_resident([ord(c) for c in text(1)])


@both
def test_a_prefix_larger_than_the_limit_is_not_copied(layout: str) -> None:
    """It would push out everything else for nothing."""
    driver = crowded(layout, Counting)
    driver.engine.cache.ram_cache._capacity = 4 * 140
    fill(driver, 1, 2, 3)
    assert 0 == driver.backend.saves  # type: ignore[attr-defined]
    fill(driver, 4, 5, 6, 7, n=100)
    assert 0 < stats(driver).ram_cache_bytes <= 4 * 140


@both
def test_a_longer_state_of_a_conversation_replaces_the_shorter(layout: str) -> None:
    driver = crowded(layout)
    ask(driver, text(0, 100))
    fill(driver, 1, 2)
    ask(driver, text(0, 100) + text(9, 100))
    fill(driver, 3, 4)
    cache = driver.engine.cache.ram_cache
    assert 1 == sum(bytes(entry.tokens).decode().startswith(text(0, 100)) for entry in cache.entries)
    assert 199 == ask(driver, text(0, 100) + text(9, 100))[1]


@both
def test_what_has_not_grown_is_not_copied_again(layout: str) -> None:
    """Two conversations that take turns are copied once, as long as they say little."""
    driver = crowded(layout, Counting)
    fill(driver, 1, 2, 3)
    for turn in range(1, 4):
        for seed in (1, 2, 3):
            ask(driver, text(seed) + "!" * turn, max_tokens=1)
    assert 3 == driver.backend.saves  # type: ignore[attr-defined]


@both
def test_a_prefix_of_a_resident_one_is_not_copied(layout: str) -> None:
    driver = crowded(layout, Counting)
    ask(driver, text(0, 200), max_tokens=1)
    assert 99 == ask(driver, text(0, 100), max_tokens=1)[1]
    ask(driver, text(0, 200) + "?", max_tokens=1)
    cache = driver.engine.cache
    before = driver.backend.saves  # type: ignore[attr-defined]
    for slot in cache.slots:
        if len(slot.tokens) < 150:
            cache._evict(slot)
    assert before == driver.backend.saves  # type: ignore[attr-defined]


@both
def test_a_model_that_drops_no_tails_gets_whole_states_only(layout: str) -> None:
    """A state that has more than the prompt is of no use to it; one that the prompt continues is."""
    driver = crowded(layout, Recurrent)
    answer, _ = ask(driver, text(0))
    fill(driver, 1, 2)
    assert 0 == ask(driver, text(0))[1]
    fill(driver, 3, 4)
    assert 150 + len(answer) - 1 == ask(driver, text(0) + answer + " And now?")[1]


@both
def test_what_cannot_be_saved_is_computed_again(layout: str) -> None:
    """It is counted."""
    driver = crowded(layout, Unsaving)
    ask(driver, text(0))
    fill(driver, 1, 2)
    assert 0 == ask(driver, text(0))[1]
    assert stats(driver).ram_cache_failures_total > 0
    assert 0 == stats(driver).ram_cache_bytes


@both
def test_what_cannot_be_loaded_is_computed_again_and_not_tried_twice(layout: str) -> None:
    driver = crowded(layout, Unloading)
    ask(driver, text(0))
    fill(driver, 1, 2)
    assert 0 == ask(driver, text(0))[1]
    assert (1, 0) == (stats(driver).ram_cache_failures_total, stats(driver).ram_cache_hits_total)
    assert 0 == driver.engine.cache.ram_cache.longest([ord(c) for c in text(0)], "")[1]


@both
def test_cells_with_no_numbers_in_them_do_not_come_back(layout: str) -> None:
    """When the cells are cleared because of them, so is what was copied from there."""
    driver = crowded(layout)
    fill(driver, 1, 2, 3)
    assert stats(driver).ram_cache_bytes
    driver.engine.cache.clear()
    assert 0 == stats(driver).ram_cache_bytes == stats(driver).cells_cached
    assert 0 == ask(driver, text(1))[1]


def test_in_a_full_pool_what_runs_is_not_disturbed() -> None:
    """Copying back waits for the room that computing would need."""
    settings = config("unified", ctx=256, parallel=2, cells=512, ram_cache_mb=1)
    driver = Driver(settings)
    ask(driver, text(0, 200))
    fill(driver, 1, 2, 3, n=200)
    driver.add(100, text(4, 200), max_tokens=40, seed=1, ignore_eos=True)
    driver.add(101, text(5, 200), max_tokens=40, seed=1, ignore_eos=True)
    driver.add(102, text(0, 200), max_tokens=40, seed=1, ignore_eos=True)
    driver.run()
    assert_clean(driver)
    for id, seed in ((100, 4), (101, 5), (102, 0)):
        assert driver.answers[id, 0].text == plain(text(seed, 200), max_tokens=40, seed=1, ignore_eos=True)
    assert 199 == driver.answers[102, 0].finish.cached_tokens
    assert 0 == stats(driver).preemptions_total


@both
def test_any_course_of_conversations_has_the_right_answers(layout: str) -> None:
    """They begin alike, branch, run beside each other and come back in any order; the copies stay within the limit."""
    for seed in range(6):
        chance = random.Random(seed)
        settings = config(layout, ctx=256, parallel=2, cells=512, ram_cache_mb=1)
        driver = Driver(settings)
        cache = driver.engine.cache.ram_cache
        cache._capacity = 4 * chance.choice((300, 700, 2000))
        asked: dict[int, str] = {}
        for id in range(40):
            prompt = text(chance.randrange(2), 90) + text(chance.randrange(5), chance.randrange(1, 120))
            asked[id] = prompt
            driver.add(id, prompt, max_tokens=6, seed=1, ignore_eos=True, cache_domain=chance.choice("ab"))
            for _ in range(chance.randrange(4)):
                driver.step()
            assert cache.bytes == sum(len(entry.data) for entry in cache.entries) <= cache._capacity
        driver.run()
        assert_clean(driver)
        for id, prompt in asked.items():
            assert driver.answers[id, 0].text == plain(prompt, max_tokens=6, seed=1, ignore_eos=True)
