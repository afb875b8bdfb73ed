"""A draft model makes answers faster where its guesses are right, and never different."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgeinfer.backends.llama_cpp.in_flight import ResumableGeneration
from edgeinfer.engine.backend import Batch, DecodeStatus, Row
from edgeinfer.engine.config import EngineConfig
from edgeinfer.engine.engine import Engine
from edgeinfer.engine.fake import FakeBackend
from edgeinfer.inference.sampling import SamplingParams
from edgeinfer.inference.structured_output import StructuredOutput
from tests.support.engine import LAYOUTS, PROMPTS, Driver, assert_clean, config, plain

both = pytest.mark.parametrize("layout", LAYOUTS)
PROMPT = PROMPTS[3]
LENGTH = 1000
TARGET_MS, DRAFT_MS = 100.0, 5.0


class Timer:
    """A clock that stands still until somebody computes."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


class Timed(FakeBackend):
    """Takes `ms` for a decode and `row_ms` for each of its rows; `wrong`: share of rows with other logits."""

    def __init__(
        self, settings: EngineConfig, timer: Timer, ms: float, row_ms: float = 0.0, wrong: float = 0.0
    ) -> None:
        super().__init__(settings, LENGTH)
        self.timer, self.ms, self.row_ms, self.wrong = timer, ms, row_ms, wrong
        self.sizes: list[int] = []

    def decode(self, batch: Batch) -> DecodeStatus:
        self.timer.now += (self.ms + self.row_ms * batch.size) / 1e3
        self.sizes.append(batch.size)
        return super().decode(batch)

    def _row(self, tokens: list[int]) -> Row:
        row = super()._row(tokens)
        if hash(tuple(tokens)) % 1000 < 1000 * self.wrong:
            row[int(row.argmax())] = -50.0
        return row


class Pair(Driver):
    """An engine with a draft model."""

    def __init__(
        self,
        layout: str = "streams",
        *,
        target_row_ms: float = 0.0,
        draft_ms: float = DRAFT_MS,
        wrong: float = 0.0,
        draft: type[Timed] = Timed,
        **changes: Any,
    ) -> None:
        settings = config(layout, **changes)
        self.timer = Timer()
        super().__init__(settings, Timed(settings, self.timer, TARGET_MS, target_row_ms))
        self.draft = draft(settings, self.timer, draft_ms, draft_ms / 50, wrong)
        self.engine = Engine(self.backend, settings, self.timer, draft=self.draft)

    @property
    def tokens_per_step(self) -> float:
        stats = self.engine.stats()
        return stats.completion_tokens_total / stats.steps_total


def answer(prompt: str = PROMPT, index: int = 0, **params: Any) -> str:
    return plain(prompt, length=LENGTH, index=index, **params)


@both
def test_a_draft_model_that_is_always_right_saves_most_steps(layout: str) -> None:
    pair = Pair(layout)
    pair.add(0, PROMPT, temperature=0)
    assert answer(temperature=0) == pair.run().text
    stats = pair.engine.stats()
    assert stats.accepted_by_model_total > 0.8 * stats.drafted_by_model_total > 100
    assert pair.tokens_per_step > 4
    finish = pair.answers[0, 0].finish
    assert stats.accepted_tokens_total == finish.accepted_tokens
    assert stats.drafted_tokens_total == finish.drafted_tokens
    assert_clean(pair)


@both
@pytest.mark.parametrize("wrong", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_answers_are_the_same_whatever_the_draft_model_guesses(
    layout: str, wrong: float, temperature: float
) -> None:
    pair = Pair(layout, wrong=wrong, parallel=4)
    for id, prompt in enumerate(PROMPTS):
        pair.add(id, prompt, temperature=temperature)
    pair.run()
    expected = [answer(p, seed=1000 + id, temperature=temperature) for id, p in enumerate(PROMPTS)]
    assert expected == list(pair.texts.values())
    assert pair.engine.stats().drafted_by_model_total > 0
    assert_clean(pair)


def test_a_draft_model_that_is_always_wrong_is_hardly_asked() -> None:
    pair = Pair(wrong=1.0)
    pair.add(0, PROMPT, temperature=0, max_tokens=180)
    pair.run()
    assert pair.engine.stats().accepted_by_model_total == 0
    assert pair.timer.now < 1.15 * 180 * TARGET_MS / 1e3


def test_answers_begin_with_what_earlier_ones_have_learnt() -> None:
    pair = Pair(wrong=1.0, draft_ms=25.0)
    drafted = []
    for id in range(6):
        before = pair.engine.stats().drafted_by_model_total
        pair.add(id, PROMPT, temperature=0, max_tokens=100)
        pair.run()
        drafted.append(pair.engine.stats().drafted_by_model_total - before)
    assert drafted[-1] < drafted[0]


def test_a_draft_model_as_slow_as_the_target_is_hardly_asked() -> None:
    pair = Pair(draft_ms=TARGET_MS)
    pair.add(0, PROMPT, temperature=0, max_tokens=180)
    assert answer(temperature=0, max_tokens=180) == pair.run().text
    assert pair.timer.now < 1.2 * 180 * TARGET_MS / 1e3


def test_where_a_row_costs_a_step_the_draft_model_is_hardly_asked() -> None:
    pair = Pair(target_row_ms=TARGET_MS)
    pair.add(0, PROMPT, temperature=0, max_tokens=180)
    pair.run()
    assert pair.timer.now < 1.15 * 180 * 2 * TARGET_MS / 1e3


def test_a_draft_model_that_gets_better_is_used_again() -> None:
    pair = Pair(wrong=1.0, ctx=4096, cells=32768)
    pair.add(0, PROMPT, temperature=0, ignore_eos=True, max_tokens=2000)
    for _ in range(200):
        pair.step()
    pair.draft.wrong = 0.0
    before = pair.engine.stats()
    pair.run()
    after = pair.engine.stats()
    steps = after.steps_total - before.steps_total
    assert steps < 0.6 * (after.completion_tokens_total - before.completion_tokens_total)


def test_a_long_prompt_is_read_in_small_parts_once_that_pays() -> None:
    prompt = "abcdefgh" * 350
    pair = Pair(ctx=4096, cells=32768, batch=512)
    pair.add(0, prompt, temperature=0, ignore_eos=True, max_tokens=300)
    while pair.engine.stats().drafted_by_model_total == 0:
        started = pair.timer.now
        pair.step()
        prefill = pair.engine.stats().completion_tokens_total <= 1
        assert prefill or pair.timer.now - started < 1.5 * TARGET_MS / 1e3
    assert pair.engine.stats().completion_tokens_total > 3
    assert max(pair.draft.sizes) < len(prompt) / 4
    text = pair.run().text
    assert plain(prompt, ctx=4096, length=LENGTH, temperature=0, ignore_eos=True, max_tokens=300) == text
    assert_clean(pair)


def test_a_conversation_is_not_read_again_from_its_beginning() -> None:
    pair = Pair(ctx=4096, cells=32768)
    prompt = "a conversation " * 40
    pair.add(0, prompt, temperature=0, ignore_eos=True, max_tokens=200)
    said = pair.run().text
    pair.draft.sizes.clear()
    pair.add(1, prompt + said + "next", temperature=0, ignore_eos=True, max_tokens=50)
    pair.run()
    assert sum(pair.draft.sizes) < len(prompt) / 2


def test_prompts_of_another_cache_domain_share_nothing_in_the_draft_model() -> None:
    pair = Pair(ctx=1024, cells=8192)
    prompt = "a conversation " * 20
    for id, domain in enumerate(("mine", "yours")):
        pair.draft.sizes.clear()
        pair.add(id, prompt, temperature=0, ignore_eos=True, max_tokens=300, cache_domain=domain)
        pair.run()
        assert sum(pair.draft.sizes) > len(prompt)


def test_what_a_prediction_has_is_not_asked_of_the_model() -> None:
    text = answer(temperature=0)
    pair = Pair()
    pair.add(0, PROMPT, temperature=0, prediction=text)
    assert text == pair.run().text
    stats = pair.engine.stats()
    assert stats.accepted_by_prediction_total > 0.8 * len(text) * 0.9
    assert stats.drafted_by_model_total < 0.1 * stats.drafted_by_prediction_total


@both
@pytest.mark.parametrize("limit", [1, 2, 3, 17])
def test_a_draft_of_the_model_ends_where_the_answer_must(layout: str, limit: int) -> None:
    pair = Pair(layout)
    pair.add(0, PROMPT, temperature=0, max_tokens=limit)
    assert answer(temperature=0, max_tokens=limit) == pair.run().text
    assert_clean(pair)


@both
def test_a_full_context_ends_an_answer_as_without_a_draft_model(layout: str) -> None:
    pair = Pair(layout, ctx=256)
    pair.add(0, PROMPT, temperature=0, ignore_eos=True)
    assert answer(temperature=0, ignore_eos=True) == pair.run().text
    assert_clean(pair)


@both
def test_a_grammar_holds_for_tokens_of_the_draft_model(layout: str) -> None:
    grammar = StructuredOutput('start: /[a-m ]+/ "!" "?"')
    texts = []
    for driven in (Driver(config(layout), FakeBackend(config(layout), LENGTH)), Pair(layout)):
        driven.add(0, PROMPT, structured=grammar, temperature=0, max_tokens=80)
        texts.append(driven.run().text)
    assert texts[0] == texts[1]
    assert driven.engine.stats().accepted_by_model_total > 0
    assert_clean(driven)


@both
def test_log_probabilities_are_those_without_a_draft_model(layout: str) -> None:
    found = []
    for driven in (Driver(config(layout), FakeBackend(config(layout), LENGTH)), Pair(layout)):
        driven.add(0, PROMPT, temperature=0, logprobs=2)
        found.append(driven.run().logprobs)
    assert found[0] == found[1]


@both
def test_several_answers_to_a_prompt_have_a_row_each(layout: str) -> None:
    pair = Pair(layout)
    pair.add(0, PROMPT, n=3, seed=7, temperature=0.3)
    pair.run()
    assert [answer(index=i, seed=7, temperature=0.3) for i in range(3)] == [
        pair.texts[0, i] for i in range(3)
    ]
    assert pair.engine.stats().accepted_by_model_total > 0
    assert_clean(pair)


@both
def test_cancelled_answers_leave_their_rows_to_others(layout: str) -> None:
    pair = Pair(layout, parallel=2)
    for round in range(5):
        for id in (2 * round, 2 * round + 1):
            pair.add(id, PROMPTS[id % 8], temperature=0)
        for _ in range(6):
            pair.step()
        pair.cancel(2 * round)
    pair.run()
    for (id, _), text in pair.texts.items():
        assert answer(PROMPTS[id % 8], temperature=0) == text
    assert_clean(pair)


def test_preempted_answers_go_on_in_another_row() -> None:
    pair = Pair("unified", cells=512, parallel=4)
    for id, prompt in enumerate(PROMPTS):
        pair.add(id, prompt, temperature=0)
    pair.run()
    assert pair.engine.stats().preemptions_total > 0
    assert [answer(p, temperature=0) for p in PROMPTS] == list(pair.texts.values())
    assert_clean(pair)


class Unreliable(Timed):
    """Two of three decodes fail; one of these leaves cells behind."""

    decodes = 0

    def decode(self, batch: Batch) -> DecodeStatus:
        self.decodes += 1
        if self.decodes % 3 == 1:
            return DecodeStatus.NO_SPACE
        status = super().decode(batch)
        return DecodeStatus.FAILED if self.decodes % 3 == 2 else status


@both
def test_a_draft_model_that_fails_only_takes_its_guesses_along(layout: str) -> None:
    pair = Pair(layout, draft=Unreliable)
    for id, prompt in enumerate(PROMPTS[:3]):
        pair.add(id, prompt, temperature=0)
    pair.run()
    assert [answer(p, temperature=0) for p in PROMPTS[:3]] == list(pair.texts.values())
    assert_clean(pair)


class Broken(Timed):
    """Its logits are no numbers until its cells are overwritten."""

    broken = True

    def _row(self, tokens: list[int]) -> Row:
        row = super()._row(tokens)
        return np.full_like(row, np.nan) if self.broken else row

    def clear(self) -> None:
        super().clear()
        self.broken = False


def test_a_draft_model_whose_logits_are_no_numbers_begins_again() -> None:
    pair = Pair(draft=Broken)
    pair.add(0, PROMPT, temperature=0)
    assert answer(temperature=0) == pair.run().text
    assert pair.engine.stats().accepted_by_model_total > 0
    assert_clean(pair)


class Smaller(Timed):
    """Lacks the last tokens of the vocabulary."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.vocab.size = ord("p")

    def decode(self, batch: Batch) -> DecodeStatus:
        assert batch.tokens[: batch.size].max() < self.vocab.size
        return super().decode(batch)

    def logits(self, index: int) -> Row:
        return super().logits(index)[: self.vocab.size]


def test_tokens_that_the_draft_model_lacks_are_not_shown_to_it() -> None:
    pair = Pair(draft=Smaller)
    pair.add(0, "abc abc abc", temperature=0)
    assert answer("abc abc abc", temperature=0) == pair.run().text
    assert_clean(pair)


def test_the_model_is_not_guessed_for_where_it_cannot_drop_the_last_tokens() -> None:
    pair = Pair()
    pair.backend.removes_tails = False
    pair.engine = Engine(pair.backend, pair.config, pair.timer, draft=pair.draft)
    pair.add(0, PROMPT, temperature=0)
    assert answer(temperature=0) == pair.run().text
    assert 0 == pair.engine.stats().drafted_tokens_total


@both
def test_an_answer_that_is_resumed_after_drafts_of_the_model_goes_on_as_it_would_have(layout: str) -> None:
    first = Pair(layout)
    first.add(0, PROMPT, temperature=0.3)
    flight = ResumableGeneration([], SamplingParams(seed=1000))
    for _ in range(9):
        for delta in first.step():
            flight.note(delta)
    (partial,) = flight.message(1).partial_answers  # type: ignore[attr-defined]
    assert first.engine.stats().accepted_by_model_total > 0
    second = Pair(layout)
    second.add(0, PROMPT, temperature=0.3, partial_answers=(partial,))
    assert answer(temperature=0.3) == bytes(partial.tokens).decode() + second.run().text
    assert_clean(second)
