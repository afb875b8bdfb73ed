"""A draft makes an answer faster, and never another one."""

from __future__ import annotations

from typing import Any

import pytest

from edgeinfer.backends.llama_cpp.in_flight import ResumableGeneration
from edgeinfer.engine.backend import Batch, DecodeStatus, Row
from edgeinfer.engine.drafter import NgramDrafter
from edgeinfer.engine.fake import FakeBackend
from edgeinfer.engine.step_costs import MEMORY, StepCosts
from edgeinfer.inference.output import PartialAnswer
from edgeinfer.inference.sampling import SamplingParams
from edgeinfer.inference.structured_output import StructuredOutput
from tests.support.engine import (
    ALONE,
    LAYOUTS,
    PROMPTS,
    Clock,
    Driver,
    assert_clean,
    config,
    plain,
)

both = pytest.mark.parametrize("layout", LAYOUTS)
PROMPT = PROMPTS[3]
ANSWER = plain(PROMPT, temperature=0.8, length=1000)


def driver(layout: str = "streams", backend: FakeBackend | None = None, **changes: Any) -> Driver:
    settings = config(layout, **changes)
    return Driver(settings, backend or FakeBackend(settings, 1000))


def steps(driven: Driver) -> int:
    return driven.engine.stats().steps_total


class Parrot(FakeBackend):
    """Repeats its first `period` tokens for ever."""

    period = 12

    def _row(self, tokens: list[int]) -> Row:
        row = super()._row(tokens)
        row[:] = -50.0
        row[tokens[len(tokens) % self.period]] = 9.0
        return row


@both
def test_a_right_prediction_saves_most_steps(layout: str) -> None:
    driven = driver(layout)
    driven.add(0, PROMPT, seed=1000, temperature=0.8, prediction=ANSWER)
    assert ANSWER == driven.run().text
    stats = driven.engine.stats()
    assert stats.accepted_tokens_total > 0.8 * len(ANSWER)
    assert steps(driven) < len(ANSWER) / 4
    assert_clean(driven)


@both
def test_a_prediction_that_is_wrong_in_places_is_taken_up_again_after_each(layout: str) -> None:
    changed = ANSWER[:40] + "XY" + ANSWER[43:120] + "Z" + ANSWER[120:]
    driven = driver(layout)
    driven.add(0, PROMPT, seed=1000, temperature=0.8, prediction=changed)
    assert ANSWER == driven.run().text
    assert driven.engine.stats().accepted_tokens_total > 0.7 * len(ANSWER)
    assert steps(driven) < len(ANSWER) / 2
    assert_clean(driven)


@both
def test_a_wrong_prediction_is_given_up_soon(layout: str) -> None:
    driven = driver(layout)
    driven.add(0, PROMPT, seed=1000, temperature=0.8, prediction="WRONG " * 40)
    assert ANSWER == driven.run().text
    stats = driven.engine.stats()
    assert 0 == stats.accepted_by_prediction_total
    assert stats.drafted_by_prediction_total <= 7
    assert_clean(driven)


@both
def test_answers_in_a_batch_are_the_same_with_predictions_of_each_other(layout: str) -> None:
    driven = Driver(config(layout))
    for id, prompt in enumerate(PROMPTS):
        driven.add(id, prompt, temperature=0.8, prediction=ALONE[id - id % 2])
    driven.run()
    assert ALONE == list(driven.texts.values())
    assert driven.engine.stats().accepted_tokens_total > 0
    assert_clean(driven)


def test_a_pool_that_is_too_small_preempts_no_answer_for_a_draft() -> None:
    driven = Driver(config("unified", cells=320, parallel=4))
    for id, prompt in enumerate(PROMPTS):
        driven.add(id, prompt, temperature=0.8, prediction=ALONE[id])
    driven.run()
    assert ALONE == list(driven.texts.values())
    assert_clean(driven)


@both
@pytest.mark.parametrize("limit", [1, 2, 3, 17, 18])
def test_a_draft_ends_where_the_answer_must(layout: str, limit: int) -> None:
    driven = driver(layout)
    driven.add(0, PROMPT, seed=1000, temperature=0.8, max_tokens=limit, prediction=ANSWER)
    answer = driven.run()
    assert (ANSWER[:limit], "length", limit) == (
        answer.text,
        answer.finish.reason,
        answer.finish.completion_tokens,
    )
    assert_clean(driven)


@both
def test_a_stop_text_inside_a_draft_ends_the_answer_there(layout: str) -> None:
    stop = ANSWER[30:34]
    driven = driver(layout)
    driven.add(0, PROMPT, seed=1000, temperature=0.8, stop=(stop,), prediction=ANSWER)
    answer = driven.run()
    assert ANSWER[: ANSWER.index(stop)] == answer.text
    assert stop == answer.finish.stop
    assert_clean(driven)


@both
def test_log_probabilities_are_those_without_a_draft(layout: str) -> None:
    found = []
    for prediction in ("", ANSWER):
        driven = driver(layout)
        driven.add(0, PROMPT, seed=1000, temperature=0.8, logprobs=2, prediction=prediction)
        found.append(driven.run().logprobs)
    assert found[0] == found[1]
    assert len(found[0]) == len(ANSWER)


@both
def test_each_of_several_answers_to_a_prompt_has_a_draft_of_its_own(layout: str) -> None:
    expected = [plain(PROMPT, index=i, seed=7, temperature=0.8) for i in range(3)]
    driven = Driver(config(layout))
    driven.add(0, PROMPT, n=3, seed=7, temperature=0.8, prediction=expected[1])
    driven.run()
    assert expected == [driven.texts[0, i] for i in range(3)]
    assert_clean(driven)


@both
def test_a_grammar_holds_for_drafted_tokens_too(layout: str) -> None:
    grammar = StructuredOutput('start: /[a-m ]+/ "!" "?"')
    texts: list[str] = []
    for prediction in ("", "first"):
        driven = driver(layout)
        text = texts[0] if prediction else ""
        driven.add(0, PROMPT, structured=grammar, temperature=0.8, max_tokens=80, prediction=text + "zzz")
        texts.append(driven.run().text)
    assert texts[0] == texts[1]
    assert driven.engine.stats().accepted_tokens_total > 40
    assert_clean(driven)


@both
def test_an_answer_that_repeats_its_prompt_is_drafted_from_it(layout: str) -> None:
    settings = config(layout)
    driven = driver(layout, Parrot(settings))
    prompt = "abcdefghijkl" * 2
    driven.add(0, prompt, temperature=0, max_tokens=200)
    assert ("abcdefghijkl" * 20)[:200] == driven.run().text
    assert steps(driven) < 60
    finish = driven.answers[0, 0].finish
    assert finish.accepted_tokens > 160
    assert finish.drafted_tokens >= finish.accepted_tokens
    assert_clean(driven)


def test_a_model_that_cannot_drop_the_last_tokens_gets_no_draft() -> None:
    settings = config()
    backend = FakeBackend(settings, 1000)
    backend.removes_tails = False
    driven = driver(backend=backend)
    driven.add(0, PROMPT, seed=1000, temperature=0.8, prediction=ANSWER)
    assert ANSWER == driven.run().text
    assert 0 == driven.engine.stats().drafted_tokens_total


def test_without_speculation_nothing_is_drafted() -> None:
    driven = driver(max_draft=0)
    driven.add(0, PROMPT, seed=1000, temperature=0.8, prediction=ANSWER)
    assert ANSWER == driven.run().text
    assert 0 == driven.engine.stats().drafted_tokens_total


class Slow(FakeBackend):
    """Each row takes as long as a step, so that a guess would have to be certain; or, if not `busy`, next to nothing."""

    busy = True

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.clock = Clock()

    def decode(self, batch: Batch) -> DecodeStatus:
        self.clock.now += batch.size if self.busy else 1.0
        return super().decode(batch)


def test_where_a_row_costs_a_step_nothing_is_drafted_for_long() -> None:
    backend = Slow(config(), 1000)
    driven = driver(backend=backend)
    driven.engine._clock = backend.clock
    driven.add(0, PROMPT, seed=1000, temperature=0.8, prediction=ANSWER)
    assert ANSWER == driven.run().text
    assert driven.engine.stats().drafted_tokens_total < len(ANSWER) / 4


def test_guesses_that_did_not_pay_are_tried_again_later() -> None:
    """Other programs made them slow, and have ended."""
    backend = Slow(config(), 1000)
    driven = driver(backend=backend)
    driven.engine._clock = backend.clock
    driven.add(0, PROMPT, seed=1000, temperature=0.8, prediction=ANSWER)
    driven.run()
    backend.busy = False
    end, id = steps(driven) + MEMORY, 1
    while steps(driven) < end:
        driven.add(id, PROMPT, seed=id, temperature=0.8)
        driven.run()
        id += 1
    before = driven.engine.stats().drafted_tokens_total
    driven.add(id, PROMPT, seed=1000, temperature=0.8, prediction=ANSWER)
    driven.run()
    assert driven.engine.stats().drafted_tokens_total - before > 0.8 * len(ANSWER)


@both
def test_an_answer_that_is_resumed_after_drafts_goes_on_as_it_would_have(layout: str) -> None:
    """It is computed again in the steps of the first time, those of its drafts among them."""
    first = driver(layout)
    first.add(0, PROMPT, seed=1000, temperature=0.8, prediction=ANSWER)
    flight = ResumableGeneration([], SamplingParams(seed=1000))
    for _ in range(9):
        for delta in first.step():
            flight.note(delta)
    (partial,) = flight.message(1).partial_answers  # type: ignore[attr-defined]
    assert isinstance(partial, PartialAnswer)
    assert len(partial.tokens) > 40
    assert sum(partial.step_sizes) == len(partial.tokens)

    second = driver(layout)
    second.add(0, PROMPT, seed=1000, temperature=0.8, prediction=ANSWER, partial_answers=(partial,))
    assert ANSWER == bytes(partial.tokens).decode() + second.run().text
    assert_clean(second)


def push_all(drafter: NgramDrafter, tokens: bytes) -> None:
    for token in tokens:
        drafter.push(token)


def test_a_draft_goes_on_as_the_last_tokens_went_on_before() -> None:
    drafter = NgramDrafter(list(b"one two three four. "), [], 100)
    push_all(drafter, b"Again: one t")
    assert b"wo three" == bytes(drafter.draft(8))


def test_a_draft_of_what_repeats_itself_goes_on_repeating() -> None:
    drafter = NgramDrafter(list(b"abcabc"), [], 100)
    push_all(drafter, b"ab")
    assert b"cabcabcabc" == bytes(drafter.draft(10))


def test_nothing_is_drafted_from_a_match_of_two_tokens() -> None:
    drafter = NgramDrafter(list(b"xab..."), [], 100)
    push_all(drafter, b"yab")
    assert [] == drafter.draft(8)


def test_of_several_passages_the_longest_match_is_followed() -> None:
    drafter = NgramDrafter(list(b"the red cat, a bad cat."), [], 100)
    push_all(drafter, b" the red cat")
    assert b", a" == bytes(drafter.draft(3))


def test_of_equally_long_matches_the_last_is_followed() -> None:
    drafter = NgramDrafter(list(b"(cat, (cat."), [], 100)
    push_all(drafter, b"[cat")
    assert b"." == bytes(drafter.draft(1))


def test_a_longer_match_than_that_in_the_prediction_is_followed() -> None:
    drafter = NgramDrafter(list(b"a cat!"), list(b"- cat?"), 100)
    push_all(drafter, b"a cat")
    assert b"!" == bytes(drafter.draft(1))


def test_of_equally_long_matches_that_in_the_prediction_is_followed() -> None:
    drafter = NgramDrafter(list(b"+ cat!"), list(b"- cat?"), 100)
    push_all(drafter, b"a cat")
    assert b"?" == bytes(drafter.draft(1))


def test_after_a_change_the_rest_of_a_prediction_is_taken_to_be_right() -> None:
    """Three equal tokens of a prediction say more than three of anything before them."""
    predicted = NgramDrafter(list(b"prompt"), list(b"one two three"), 100)
    repeated = NgramDrafter(list(b"one two three"), [], 100)
    for drafter in (predicted, repeated):
        push_all(drafter, b"1 tw")
        assert b"o three" == bytes(drafter.draft(7))
    assert predicted.acceptance > 0.5 > repeated.acceptance


def test_an_answer_is_taken_to_begin_like_its_prediction() -> None:
    drafter = NgramDrafter(list(b"prompt"), list(b"predicted"), 100)
    assert b"pred" == bytes(drafter.draft(4))
    push_all(drafter, b"predicte")
    assert b"d" == bytes(drafter.draft(4))


def test_guesses_that_are_wrong_lower_the_acceptance_and_right_ones_raise_it() -> None:
    right, wrong = (NgramDrafter(list(b"prompt"), list(b"predicted text"), 100) for _ in range(2))
    before = right.acceptance
    push_all(right, b"predicted te")
    push_all(wrong, b"p.")
    wrong.push(ord("e"))
    assert right.acceptance > before > wrong.acceptance


def test_the_cost_of_a_step_lies_between_its_measured_neighbours() -> None:
    costs = StepCosts()
    assert 0.0 == costs.ms(4)
    costs.record(1, 10.0)
    guessed = costs.ms(8)
    assert 10.0 < guessed < 80.0
    costs.record(8, 30.0)
    assert 30.0 == costs.ms(8)
    assert 10.0 < costs.ms(4) < 30.0
    assert costs.ms(16) > 30.0
    costs.record(8, 40.0)
    assert 30.0 < costs.ms(8) < 40.0


def test_a_cost_that_was_measured_long_ago_is_forgotten() -> None:
    costs = StepCosts()
    costs.record(8, 300.0)
    for _ in range(MEMORY):
        costs.record(1, 10.0)
    assert 300.0 == costs.ms(8)
    costs.record(1, 10.0)
    assert 10.0 < costs.ms(8) < 80.0
    costs.record(8, 40.0)
    assert 40.0 == costs.ms(8)
