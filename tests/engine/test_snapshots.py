"""An answer whose engine dies goes on from its last copy in memory, by steps like those of the first time."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator
from typing import Any

import pytest

from edgeinfer.backends.llama_cpp.in_flight import ResumableGeneration
from edgeinfer.backends.llama_cpp.messages import Generate
from edgeinfer.engine.backend import Batch, DecodeStatus, SavedState
from edgeinfer.engine.engine import Engine
from edgeinfer.engine.fake import FakeBackend
from edgeinfer.engine.ram_cache import MB
from edgeinfer.engine.sequence import Request
from edgeinfer.engine.snapshots import Snapshots
from edgeinfer.engine.state_memory import StateMemory
from edgeinfer.inference.sampling import SamplingParams
from tests.support.engine import LAYOUTS, Clock, config, encode, plain

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs memfd_create")

both = pytest.mark.parametrize("layout", LAYOUTS)
LONG = "Once upon a time, long ago, " * 3


@pytest.fixture
def descriptor() -> Generator[int, None, None]:
    descriptor = os.memfd_create("states")
    yield descriptor
    os.close(descriptor)


class Recording(FakeBackend):
    """Records how many tokens of each sequence every decode has."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.decodes: list[list[int]] = []

    def decode(self, batch: Batch) -> DecodeStatus:
        sequences = batch.sequences[: batch.size].tolist()
        self.decodes.append([sequences.count(sequence) for sequence in sorted(set(sequences))])
        return super().decode(batch)


class Unloading(Recording):
    """Loads nothing."""

    def restore(self, sequence: int, data: SavedState) -> bool:
        return False


class Answers:
    """Answers of engines that die, one after the other, in the memory of `descriptor`."""

    def __init__(self, descriptor: int, layout: str, prompts: list[str], **params: Any) -> None:
        self.descriptor = descriptor
        self.config = config(layout, batch=512, ram_cache_mb=1)
        self.texts = [""] * len(prompts)
        self.num_tokens = 0
        self.generations = [
            ResumableGeneration(
                encode(prompt),
                SamplingParams(**{"seed": 1000 + i, "max_tokens": 120, "ignore_eos": True} | params),
                add_bos=False,
            )
            for i, prompt in enumerate(prompts)
        ]

    @property
    def unfinished(self) -> bool:
        return any(generation.unfinished for generation in self.generations)

    def live(self, steps: int, kind: type[Recording] = Recording) -> tuple[Engine, Recording]:
        """Run a fresh engine for so many steps, or to the end."""
        backend = kind(self.config)
        memory = StateMemory(self.descriptor, MB, "fake")
        engine = Engine(backend, self.config, Clock(), state_memory=memory)
        for i, generation in enumerate(self.generations):
            if not generation.unfinished:
                continue
            message = generation.message(i)
            assert isinstance(message, Generate)
            tokens = [token for token in message.prompt if isinstance(token, int)]
            engine.add(Request(i, tokens, message.params, partial_answers=message.partial_answers))
        for _ in range(steps):
            for delta in engine.step():
                self.generations[delta.id].note(delta)
                self.generations[delta.id].on_progress()
                self.texts[delta.id] += delta.text
                self.num_tokens += len(delta.tokens)
            engine.check_integrity()
        for generation in self.generations:
            generation.on_crash(alone=False)
        return engine, backend


def expected(prompts: list[str]) -> list[str]:
    return [
        plain(prompt, seed=1000 + i, max_tokens=120, ignore_eos=True, ctx=512)
        for i, prompt in enumerate(prompts)
    ]


@both
def test_answers_of_engines_that_die_again_and_again_are_the_undisturbed_ones(
    descriptor: int, layout: str
) -> None:
    """Some prompts have a prefix in common, others are short."""
    prompts = [LONG, LONG + "there was a king", LONG + "there was a queen", "hello", "hi"]
    answers, lives = Answers(descriptor, layout, prompts), 0
    while answers.unfinished:
        answers.live(25)
        lives += 1
    assert expected(prompts) == answers.texts
    assert lives > 5


@both
def test_what_a_copy_has_is_not_computed_again(descriptor: int, layout: str) -> None:
    """The rest is computed token by token, as at first."""
    answers = Answers(descriptor, layout, [LONG])
    answers.live(80)
    engine, backend = answers.live(1)
    stats = engine.stats()
    computed = len(LONG) + answers.num_tokens
    assert 1 == stats.resumed_answers_total
    assert len(LONG) < stats.resumed_tokens_total < computed
    assert [[1]] == backend.decodes
    assert stats.snapshots_total <= 1


@both
def test_without_a_seed_what_a_copy_lacks_is_computed_at_once(descriptor: int, layout: str) -> None:
    answers = Answers(descriptor, layout, [LONG], seed=None)
    answers.live(80)
    written = answers.num_tokens
    engine, backend = answers.live(1)
    missing = len(LONG) + written - engine.stats().resumed_tokens_total
    assert 1 < missing < written
    assert [[missing]] == backend.decodes


@both
def test_copies_are_rare_until_an_answer_is_interrupted(descriptor: int, layout: str) -> None:
    """The clock advances with each reading, so a copy takes as long as a part of a step."""
    answers = Answers(descriptor, layout, [LONG])
    first, _ = answers.live(60)
    second, _ = answers.live(60)
    assert 0 < first.stats().snapshots_total < second.stats().snapshots_total
    steps = 60 * 4  # readings of the clock, at least
    assert second.stats().snapshots_total <= 1 + steps * Snapshots.RESUMED_SHARE * 2


@both
def test_a_copy_that_cannot_be_loaded_costs_no_answer(descriptor: int, layout: str) -> None:
    """Everything is computed again, and the copy is not tried twice."""
    answers = Answers(descriptor, layout, [LONG])
    answers.live(60)
    engine, _ = answers.live(20, Unloading)
    assert (0, 1) == (engine.stats().resumed_answers_total, engine.stats().ram_cache_failures_total)
    while answers.unfinished:
        answers.live(200)
    assert expected([LONG]) == answers.texts


@both
def test_a_damaged_copy_costs_no_answer(descriptor: int, layout: str) -> None:
    """Its checksum is wrong, so it is not loaded."""
    answers = Answers(descriptor, layout, [LONG])
    engine, _ = answers.live(60)
    (entry,) = engine.cache.ram_cache.entries
    assert entry.stored
    os.pwrite(descriptor, b"\xff\xff", entry.stored.end - 8)
    engine, _ = answers.live(20)
    assert (0, 1) == (engine.stats().resumed_answers_total, engine.stats().ram_cache_failures_total)
    while answers.unfinished:
        answers.live(200)
    assert expected([LONG]) == answers.texts


@both
def test_a_finished_conversation_outlives_its_engine_too(descriptor: int, layout: str) -> None:
    answers = Answers(descriptor, layout, [LONG])
    while answers.unfinished:
        answers.live(500)
    after = Answers(descriptor, layout, [LONG + answers.texts[0] + " And then?"])
    engine, _ = after.live(3)
    assert 1 == engine.stats().ram_cache_hits_total
    assert engine.stats().cached_tokens_total > len(LONG)


@both
def test_copies_keep_to_the_limit(descriptor: int, layout: str) -> None:
    """The oldest make room, and what is larger than everything is not copied."""
    prompts = [f"{i} {LONG}" for i in range(6)]
    answers = Answers(descriptor, layout, prompts)
    backend = Recording(answers.config)
    engine = Engine(backend, answers.config, Clock(), state_memory=StateMemory(descriptor, MB, "fake"))
    cache = engine.cache.ram_cache
    cache._capacity = 4 * 450  # the fake takes four bytes for a token
    for i, prompt in enumerate(prompts):
        engine.add(Request(i, encode(prompt), SamplingParams(seed=i, max_tokens=140, ignore_eos=True)))
    while engine.has_work:
        engine.step()
        assert cache.bytes <= cache._capacity
    assert engine.stats().snapshots_total > 4
