"""What keeps answers from depending on each other: the backend's own exactness, or being alone."""

from __future__ import annotations

from typing import Any, cast

import pytest

from edgeinfer.engine.backend import Batch, DecodeStatus
from edgeinfer.engine.fake import FakeBackend
from edgeinfer.engine.kv_cache import Slot
from edgeinfer.engine.kv_streams import StreamsCache
from edgeinfer.engine.ram_cache import RamCache
from edgeinfer.engine.sequence import Request
from edgeinfer.inference.output import PartialAnswer, StartTimings
from edgeinfer.inference.sampling import SamplingParams
from tests.support.engine import LAYOUTS, Driver, config, decode_alone, encode

LONG = "the same words, the same words, the same words"


class Recording(FakeBackend):
    """Remembers each decode as (sequence, position, number of tokens) of its parts."""

    def decode(self, batch: Batch) -> DecodeStatus:
        parts: list[tuple[int, int, int]] = []
        for sequence, position in zip(
            batch.sequences[: batch.size].tolist(), batch.positions[: batch.size].tolist(), strict=True
        ):
            if parts and parts[-1][0] == sequence:
                parts[-1] = (sequence, parts[-1][1], parts[-1][2] + 1)
            else:
                parts.append((sequence, position, 1))
        self.__dict__.setdefault("decodes", []).append(parts)
        return super().decode(batch)

    @property
    def steps(self) -> list[list[tuple[int, int, int]]]:
        steps: list[list[tuple[int, int, int]]] = self.__dict__.get("decodes", [])
        return steps


def alone(layout: str) -> Driver:
    settings = config(layout, parallel=1, max_draft=0, determinism="alone", ctx=256, batch=16, ram_cache_mb=1)
    return Driver(settings, Recording(settings))


def steps(driver: Driver) -> list[list[tuple[int, int, int]]]:
    assert isinstance(driver.backend, Recording)
    return driver.backend.steps


def shape(driver: Driver) -> list[tuple[int, int]]:
    """The steps without the names of sequences; each is of one sequence."""
    assert all(len(parts) == 1 for parts in steps(driver))
    return [parts[0][1:] for parts in steps(driver)]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_answers_alone_are_computed_in_the_same_steps_whatever_came_before(layout: str) -> None:
    """No prefix is used again, and another caller waits for the end, however long that takes."""
    first = alone(layout)
    first.add(1, LONG, max_tokens=20, ignore_eos=True)
    first.run()
    undisturbed = shape(first)
    assert (0, 16) == undisturbed[0]
    busy = alone(layout)
    for id in range(1, 5):
        busy.add(id, LONG, caller=f"caller {id}", seed=1001, max_tokens=20, ignore_eos=True)
    busy.run()
    assert 4 * undisturbed == shape(busy)
    assert {first.texts[1, 0]} == set(busy.texts.values())


def test_answers_alone_do_not_go_on_from_the_copies_of_others() -> None:
    """They would be computed from where the prompts differ. Their own copy is used."""
    settings = config(parallel=1, max_draft=0, determinism="alone", batch=64, ram_cache_mb=1)
    backend = FakeBackend(settings)
    cache = StreamsCache(backend, 3, 256, RamCache(backend, 1))
    cache.keeps_prefixes = False
    ended = computed(cache, encode("x" * 100))
    cache.snapshot(ended)
    cache.release(ended)
    assert not cache.ram_cache.entries
    running = computed(cache, encode("x" * 100))
    cache.snapshot(running)
    running.running, running.snapshot = False, None  # as after a crash: the copy is there, and nobody's
    other = cache.admit(encode("x" * 70 + "y" * 30), resumed=True)
    assert other
    assert [] == other.tokens
    cache.release(other)
    own = cache.admit(encode("x" * 120), resumed=True)
    assert own
    assert 100 == len(own.tokens)


def computed(cache: StreamsCache, tokens: list[int]) -> Slot:
    slot = cache.admit(tokens)
    assert slot
    assert cache.reserve(slot, len(tokens))
    decode_alone(cast("FakeBackend", cache.backend), slot.id, tokens)
    cache.commit(slot, tokens)
    return slot


@pytest.mark.parametrize("layout", LAYOUTS)
def test_answers_with_one_prompt_are_computed_one_after_the_other(layout: str) -> None:
    """Each computes the prompt from its start."""
    driver = alone(layout)
    driver.add(1, LONG, 3, max_tokens=5, ignore_eos=True)
    driver.run()
    assert [0, 0, 0] == [position for position, _ in shape(driver) if position == 0]


def request(**fields: Any) -> Request:
    params = SamplingParams(seed=3, temperature=0.0, max_tokens=40, ignore_eos=True)
    return Request(1, encode(LONG), params, reproducible=True, **fields)


@pytest.mark.parametrize(("determinism", "guesses"), [("none", False), ("by_row", True)])
def test_answers_with_a_seed_are_guessed_for_where_that_changes_nothing(
    determinism: str, guesses: bool
) -> None:
    """The prompt repeats itself, so that there is something to guess."""
    settings = config(determinism=determinism, max_draft=7)
    driver = Driver(settings, Recording(settings))
    driver.engine.add(request())
    (sequence,) = driver.engine.scheduler.waiting
    assert guesses == (sequence.drafter is not None)


@pytest.mark.parametrize(("determinism", "num_steps"), [("none", 4), ("by_row", 1)])
def test_an_interrupted_answer_goes_on_in_one_step_where_that_changes_nothing(
    determinism: str, num_steps: int
) -> None:
    """Elsewhere what it has is computed in the steps of the first time."""
    settings = config(determinism=determinism)
    driver = Driver(settings, Recording(settings))
    begun = PartialAnswer(encode("abc"), StartTimings(0.0, 0.0, 0), None, [1, 1, 1])
    driver.engine.add(request(partial_answers=(begun,)))
    while not (deltas := driver.engine.step()):
        pass
    assert deltas
    assert num_steps == len(steps(driver))
