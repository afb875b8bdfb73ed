from __future__ import annotations

import json
import random
from typing import Any

import numpy as np
import pytest
from jsonschema import Draft202012Validator

from edgeinfer.engine.fake import END, FakeVocab
from edgeinfer.engine.sampler import Sampler
from edgeinfer.engine.structured.constraint import Constraint, ConstraintCompiler
from edgeinfer.engine.structured.tokenizer import TextTokenizer
from edgeinfer.errors import ConstraintFailed, InvalidRequest
from edgeinfer.inference.sampling import SamplingParams
from edgeinfer.inference.structured_output import StructuredOutput, ThinkingBudget
from tests.support.constraints import BUDGET, PERSON, THOUGHT, grammar
from tests.support.engine import LAYOUTS, Driver, config


def constraint(text: str) -> Constraint:
    return ConstraintCompiler(TextTokenizer(FakeVocab())).compile(text)


def follow(place: Constraint, text: str) -> Constraint:
    for byte in text.encode():
        assert place.allows(byte)
        place.accept(byte)
    return place


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("temperature", [0.0, 1.5])
def test_answers_keep_to_their_schema(layout: str, temperature: float) -> None:
    driver = Driver(config(layout, ctx=512))
    for id in range(24):
        driver.add(
            id,
            f"prompt {id}",
            structured=StructuredOutput(grammar()),
            temperature=temperature,
            top_k=0,
            top_p=1.0,
        )
    driver.run()
    for answer in driver.answers.values():
        assert answer.finish.reason == "stop"
        Draft202012Validator(PERSON).validate(json.loads(answer.text))


def test_what_the_grammar_forces_is_not_sampled() -> None:
    driver = Driver(config())
    driver.add(1, "who?", structured=StructuredOutput(grammar(schema={"const": "nobody in particular"})))
    assert driver.run().text == '"nobody in particular"'
    stats = driver.engine.stats()
    assert stats.completion_tokens_total == len('"nobody in particular"')
    assert stats.steps_total <= 2


def test_the_answer_is_the_same_beside_others_and_with_little_room() -> None:
    def answers(alone: bool, **changes: Any) -> list[str]:
        driver = Driver(config("unified", **changes))
        for id in range(6):
            driver.add(id, f"prompt {id}", structured=StructuredOutput(grammar()), temperature=1.5, min_p=0.0)
            if alone:
                driver.run()
        driver.run()
        return list(driver.texts.values())

    undisturbed = answers(alone=True)
    assert answers(alone=False) == undisturbed
    crowded = Driver(config("unified", cells=256, ctx=256))
    for id in range(6):
        crowded.add(id, f"prompt {id}", structured=StructuredOutput(grammar()), temperature=1.5, min_p=0.0)
    crowded.run()
    assert crowded.engine.stats().preemptions_total > 0
    assert list(crowded.texts.values()) == undisturbed


def test_the_n_answers_to_one_prompt_are_constrained_each_on_its_own() -> None:
    driver = Driver(config())
    driver.add(1, "who?", n=5, structured=StructuredOutput(grammar()), temperature=1.5)
    driver.run()
    assert len(set(driver.texts.values())) > 1
    assert all(json.loads(text) for text in driver.texts.values())


def test_with_logprobs_every_token_has_its_own() -> None:
    driver = Driver(config())
    driver.add(1, "who?", structured=StructuredOutput(grammar()), logprobs=2)
    answer = driver.run()
    assert b"".join(entry.chosen.piece for entry in answer.logprobs).decode() == answer.text
    assert json.loads(answer.text)


def test_an_answer_cut_at_its_limit_says_so() -> None:
    driver = Driver(config())
    driver.add(1, "who?", structured=StructuredOutput(grammar()), max_tokens=20)
    answer = driver.run()
    assert (answer.finish.reason, len(answer.tokens)) == ("length", 20)
    with pytest.raises(ValueError):
        json.loads(answer.text)


@pytest.mark.parametrize("limit", [40, 41, 45, 50, 60, 80, 120])
def test_an_answer_to_be_completed_ends_within_its_limit(limit: int) -> None:
    for seed in range(10):
        driver = Driver(config(ctx=512))
        schema = {**PERSON, "properties": {**PERSON["properties"], "name": {"type": "string"}}}
        structured = StructuredOutput(grammar(schema=schema), complete=True)
        driver.add(1, "who?", structured=structured, max_tokens=limit, temperature=1.5, seed=seed)
        answer = driver.run()
        assert answer.finish.reason == "stop"
        assert len(answer.tokens) <= limit
        Draft202012Validator(schema).validate(json.loads(answer.text))


def test_an_answer_that_cannot_be_completed_in_time_is_cut() -> None:
    driver = Driver(config())
    driver.add(1, "who?", structured=StructuredOutput(grammar(), complete=True), max_tokens=20)
    assert driver.run().finish.reason == "length"


@pytest.mark.parametrize("text", [None, grammar(THOUGHT)])
def test_thinking_is_closed_when_its_budget_is_spent(text: str | None) -> None:
    driver = Driver(config(ctx=512), length=10_000)
    driver.add(1, "think: ", structured=StructuredOutput(text, thinking=BUDGET), max_tokens=250)
    thought, tag, answer = driver.run().text.partition("\n</think>\n\n")
    assert len(thought) == BUDGET.tokens
    assert tag
    assert answer
    if text:
        Draft202012Validator(PERSON).validate(json.loads(answer))


def test_an_answer_that_does_not_think_keeps_its_words() -> None:
    budget = ThinkingBudget(10, False, "<think>", "</think>", "\n</think>\n\n")
    free, bounded = Driver(config()), Driver(config())
    free.add(1, "hello")
    bounded.add(1, "hello", structured=StructuredOutput(thinking=budget))
    assert free.run().text == bounded.run().text


def test_an_answer_may_end_where_the_grammar_allows_it_and_nowhere_else() -> None:
    place = constraint(grammar("start: /ab+/"))
    assert not place.allows(END)
    follow(place, "ab")
    assert place.accepting
    assert place.allows(END)
    assert not place.stopped
    assert constraint(grammar('start: "a"')).forced_tokens() == [97]


def test_masked_rows_hold_exactly_what_may_follow() -> None:
    place = follow(constraint(grammar('start: "a" ("b" | "c" "d")')), "a")
    row = np.zeros(FakeVocab.size, np.float32)
    place.apply_mask(row)
    assert np.flatnonzero(np.isfinite(row)).tolist() == [ord("b"), ord("c")]


def test_copies_go_their_own_ways() -> None:
    place = follow(constraint(grammar('start: "a" ("b" | "c" "d")')), "a")
    other = place.copy()
    follow(place, "b")
    assert place.stopped
    follow(other, "c")
    assert other.forced_tokens() == [ord("d")]


def test_a_refused_token_has_masks_computed_in_advance_for_a_while() -> None:
    place = constraint(grammar("start: /a*/"))
    hungry = [place.wants_mask]
    assert not place.allows(ord("b"))
    hungry.append(place.wants_mask)
    place.compute_mask()
    hungry.append(place.wants_mask)  # it is there
    for _ in range(Constraint.PREFETCH_STREAK):
        follow(place, "a")
    hungry.append(place.wants_mask)
    assert hungry == [False, True, False, False]


def test_a_draw_refused_and_repeated_follows_the_probabilities_of_what_is_allowed() -> None:
    start = constraint(grammar("start: /[ab]/"))
    row = np.log(np.array([0.2, 0.1, 0.7], np.float32))
    drawn = []
    for seed in range(2000):
        full = np.full(FakeVocab.size, -50.0, np.float32)
        full[[ord("a"), ord("b"), ord("z")]] = row
        params = SamplingParams(temperature=1.0, top_k=0, top_p=1.0, min_p=0.0)
        drawn.append(Sampler(params, seed, 0).sample(full, start.copy()))
    assert set(drawn) == {ord("a"), ord("b")}
    assert 0.63 < drawn.count(ord("a")) / len(drawn) < 0.70


def test_no_grammar_at_all_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="grammar"):
        constraint(grammar("start: @missing"))


def test_a_grammar_that_outgrows_its_limits_fails_its_own_request_alone() -> None:
    class Greedy(Constraint):
        def allows(self, token: int) -> bool:
            raise ConstraintFailed("too much")

    driver = Driver(config())
    driver.add(1, "hello")
    driver.add(2, "hello", structured=StructuredOutput(grammar()))
    (sequence,) = (s for s in driver.engine.scheduler.waiting if s.request.id == 2)
    sequence.constraint.__class__ = Greedy
    driver.answers.pop((2, 0))
    assert driver.run().finish.reason == "stop"
    assert driver.failed == {2: "constraint_failed"}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_constrained_and_free_answers_together_leave_no_cell_behind(layout: str) -> None:
    chance = random.Random(7)
    driver = Driver(config(layout, ctx=160, cells=600 if layout == "unified" else 1440, batch=17))
    for id in range(60):
        free = chance.random() < 0.4
        structured = (
            StructuredOutput() if free else StructuredOutput(grammar(), complete=chance.random() < 0.5)
        )
        driver.add(
            id, f"prompt {id % 7}", structured=structured, temperature=1.5, max_tokens=chance.randint(1, 90)
        )
        for _ in range(chance.randint(0, 9)):
            driver.step()
        if chance.random() < 0.2:
            driver.cancel(chance.randint(0, id))
    driver.run()
    for answer in driver.answers.values():
        assert answer.finish.completion_tokens == len(answer.tokens)
