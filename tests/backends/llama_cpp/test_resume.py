"""An answer that is cut anywhere and taken up by a fresh engine goes on as if nothing had happened."""

from __future__ import annotations

import itertools
import json
import time
from typing import Any

import numpy as np
import pytest

from edgeinfer.backends.llama_cpp.in_flight import ResumableGeneration
from edgeinfer.backends.llama_cpp.messages import Generate
from edgeinfer.engine.backend import Batch, DecodeStatus, Row
from edgeinfer.engine.config import EngineConfig
from edgeinfer.engine.engine import Engine
from edgeinfer.engine.fake import END, FakeBackend, FakeVocab
from edgeinfer.engine.sequence import Request
from edgeinfer.errors import ConstraintFailed, ContextLengthExceeded, InvalidRequest
from edgeinfer.inference.output import Delta, Finish, HeldState, PartialAnswer, StartTimings
from edgeinfer.inference.sampling import SamplingParams
from edgeinfer.inference.structured_output import UNCONSTRAINED, StructuredOutput
from tests.support.constraints import BUDGET, PERSON, THOUGHT, grammar
from tests.support.engine import Answer, Clock, Driver, assert_clean, config, encode

GREEK = "αβγδε 😀 "
"""Characters of two and four bytes, so of as many of the fake's tokens."""


class Writing(FakeBackend):
    """Wants to write `script` over and over after the prompt, and wavers between it and small letters."""

    def __init__(self, config: EngineConfig, prompt: str, script: str) -> None:
        super().__init__(config)
        self._start, self._script = len(prompt.encode()), script.encode()

    def _row(self, tokens: list[int]) -> Row:
        row = super()._row(tokens)
        row[END] = -50.0
        row[self._script[(len(tokens) - self._start) % len(self._script)]] = 6.0
        return row


class Asking:
    """One request, answered by as many engines as it takes; each is given up after `steps` steps."""

    def __init__(
        self,
        prompt: str,
        n: int = 1,
        structured: StructuredOutput = UNCONSTRAINED,
        script: str | None = None,
        layout: str = "streams",
        **params: Any,
    ) -> None:
        self.prompt = prompt
        self.structured = structured
        self.config = config(layout, ctx=512, batch=512, parallel=4)
        self.script = script
        given = SamplingParams(**{"seed": 7, "temperature": 0.8} | params)
        self.generation = ResumableGeneration(encode(prompt), given, n, False, structured)
        self.answers = [Answer() for _ in range(n)]
        self.deltas: list[Delta] = []
        self.engines = 0
        self.computed: list[tuple[int, int]] = []

    def run(self, steps: int) -> Asking:
        while self.generation.unfinished:
            engine, told = self._engine(), len(self.deltas)
            for _ in range(steps):
                for delta in engine.step():
                    self.generation.note(delta)
                    self.answers[delta.index].add(delta)
                    self.deltas.append(delta)
                assert not engine.failures
                engine.check_integrity()
            if len(self.deltas) > told:
                self.generation.on_progress()
            self.generation.on_crash(alone=False)
        return self

    def _engine(self) -> Engine:
        """A fresh one that has taken the request up."""
        self.engines += 1
        backend = FakeBackend(self.config)
        if self.script is not None:
            backend = Writing(self.config, self.prompt, self.script)
        record(backend, self.computed)
        engine = Engine(backend, self.config, Clock())
        asked = self.generation.message(self.engines)
        assert isinstance(asked, Generate)
        tokens = [token for token in asked.prompt if isinstance(token, int)]
        grammar = self.structured.grammar
        constraint = engine.constraint_compiler.compile(grammar) if grammar else None
        engine.add(
            Request(
                asked.id,
                tokens,
                asked.params,
                asked.n,
                asked.structured,
                constraint,
                asked.partial_answers,
                0.0,
            )
        )
        return engine

    @property
    def told(self) -> list[tuple[str, list[int], Any, tuple[Any, ...]]]:
        """All that a caller sees of each answer, times left out."""
        return [(a.text, a.tokens, a.logprobs, ending(a.finish)) for a in self.answers]


def record(backend: FakeBackend, computed: list[tuple[int, int]]) -> None:
    """Into `computed`: where each decode of the one sequence began, and how many tokens it had."""
    decode = backend.decode

    def recorded(batch: Batch) -> DecodeStatus:
        computed.append((int(batch.positions[0]), batch.size))
        return decode(batch)

    backend.decode = recorded  # type: ignore[method-assign]


def ending(finish: Finish) -> tuple[Any, ...]:
    return (
        finish.reason,
        finish.prompt_tokens,
        finish.cached_tokens,
        finish.completion_tokens,
        finish.stop,
    )


def count(told: list[Any]) -> int:
    return max(len(tokens) for _, tokens, _, _ in told)


CASES: dict[str, dict[str, Any]] = {
    "greedy": {"temperature": 0.0, "max_tokens": 30, "ignore_eos": True},
    "drawn": {"max_tokens": 30, "ignore_eos": True},
    "penalties": {
        "max_tokens": 40,
        "ignore_eos": True,
        "repeat_penalty": 1.3,
        "presence_penalty": 0.5,
        "frequency_penalty": 0.3,
    },
    "several": {"n": 3, "max_tokens": 20},
    "several of different length": {"n": 4, "stop": ("e", "s"), "max_tokens": 30},
    "partial characters": {"script": GREEK, "max_tokens": 40},
    "a stop text within reach": {
        "script": GREEK,
        "stop": ("γδεζ", "😀 αβγδε 😀 αβγδε"),
        "max_tokens": 80,
        "temperature": 0.0,
    },
    "a stop text never reached": {
        "script": GREEK,
        "stop": ("αβγδε 😀 x",),
        "max_tokens": 60,
        "temperature": 0.0,
    },
    "logprobs": {"max_tokens": 20, "logprobs": 3, "ignore_eos": True},
    "logprobs, several": {"max_tokens": 12, "logprobs": 0, "ignore_eos": True, "n": 2},
    "logprobs of partial characters": {"script": GREEK, "logprobs": 2, "max_tokens": 30},
    "logprobs held back": {
        "script": GREEK,
        "logprobs": 2,
        "max_tokens": 70,
        "temperature": 0.0,
        "stop": ("😀 αβγδε 😀 αβγδε x", "δε 😀 αβγδε 😀 αβ"),
    },
    "a schema": {"structured": StructuredOutput(grammar())},
    "a schema, several": {"structured": StructuredOutput(grammar()), "n": 3},
    "a schema, completed": {"structured": StructuredOutput(grammar(), complete=True), "max_tokens": 75},
    "a schema, completed, logprobs": {
        "structured": StructuredOutput(grammar(), complete=True),
        "max_tokens": 75,
        "logprobs": 1,
    },
    "a text completed in haste": {
        "structured": StructuredOutput(
            grammar(schema={"type": "array", "items": {"type": "string"}}), complete=True
        ),
        "max_tokens": 40,
        "script": '["abcdefghijk", ',
    },
    "the same with logprobs": {
        "structured": StructuredOutput(
            grammar(schema={"type": "array", "items": {"type": "string"}}), complete=True
        ),
        "max_tokens": 40,
        "script": '["abcdefghijk", ',
        "logprobs": 1,
    },
    "a long forced run": {
        "structured": StructuredOutput(grammar(f'start: /[a-z]/ "{"x" * 50}" /[a-z]{{3}}/'))
    },
    "thinking": {"structured": StructuredOutput(None, thinking=BUDGET), "max_tokens": 60, "ignore_eos": True},
    "thinking, logprobs": {
        "structured": StructuredOutput(None, thinking=BUDGET),
        "max_tokens": 60,
        "ignore_eos": True,
        "logprobs": 1,
    },
    "thinking, then a schema": {
        "structured": StructuredOutput(grammar(THOUGHT), True, BUDGET),
        "max_tokens": 90,
    },
    "thinking, then a schema, logprobs": {
        "structured": StructuredOutput(grammar(THOUGHT), True, BUDGET),
        "max_tokens": 90,
        "logprobs": 2,
    },
}


@pytest.mark.parametrize(("steps", "layout"), [(1, "streams"), (2, "unified"), (5, "streams")])
@pytest.mark.parametrize("case", CASES)
def test_whoever_is_cut_every_few_steps_gets_the_undisturbed_answer(
    case: str, steps: int, layout: str
) -> None:
    """Text, tokens, log-probabilities, counts and the reason of the end, to the last of them."""
    asked = {"prompt": "hello", **CASES[case]}
    undisturbed = Asking(**asked, layout=layout).run(10_000)
    assert 1 == undisturbed.engines
    disturbed = Asking(**asked, layout=layout)
    assert undisturbed.told == disturbed.run(steps).told
    assert disturbed.engines > 1 or len(undisturbed.deltas) <= steps * len(undisturbed.answers)


@pytest.mark.parametrize("case", ["drawn", "a schema", "a long forced run", "thinking, logprobs"])
def test_with_a_seed_tokens_are_computed_together_as_they_were(case: str) -> None:
    """llama.cpp multiplies one row and several in different ways, and a near tie would flip."""
    asked = {"prompt": "hello", **CASES[case]}
    undisturbed = Asking(**asked).run(10_000)
    disturbed = Asking(**asked)
    disturbed.run(3)
    begun = [i for i, (position, _) in enumerate(disturbed.computed) if position == 0]
    lives = [disturbed.computed[a:b] for a, b in itertools.pairwise([*begun, None])]
    assert len(lives) > 1
    exact = [life for life in lives if life == undisturbed.computed[: len(life)]]
    hurried = [life for life in lives if life not in exact]
    assert len(exact) > 1
    assert all(life[0][1] > undisturbed.computed[0][1] for life in hurried)


def test_without_a_seed_they_are_computed_as_fast_as_it_goes() -> None:
    """Nobody can tell."""
    asked = Asking("hello", max_tokens=20, ignore_eos=True, seed=None)
    asked.run(4)
    assert (0, 5 + 4) in asked.computed


def test_the_cases_are_what_they_say() -> None:
    """Stop texts are met or missed, forms are completed, and thoughts closed."""
    told = {name: Asking(**{"prompt": "hello", **case}).run(10_000).told for name, case in CASES.items()}
    assert "😀 αβγδε 😀 αβγδε" == told["a stop text within reach"][0][3][4]
    assert ("length", None) == told["a stop text never reached"][0][3][::4]
    assert "δε 😀 αβγδε 😀 αβ" == told["logprobs held back"][0][3][4]
    assert len({len(tokens) for _, tokens, _, _ in told["several of different length"]}) > 1
    for name in ("a schema, completed", "a schema, completed, logprobs"):
        assert PERSON["required"] == list(json.loads(told[name][0][0]))
    for name in ("a text completed in haste", "the same with logprobs"):
        assert json.loads(told[name][0][0])
        assert 30 < count(told[name]) <= 40
    for name in (n for n in CASES if n.startswith("thinking")):
        assert "\n</think>\n\n" in told[name][0][0]


@pytest.mark.parametrize(
    ("case", "field"),
    [
        ("thinking, logprobs", "forced_tokens"),
        ("the same with logprobs", "is_closing"),
        ("logprobs held back", "logprobs"),
        ("a text completed in haste", "next_close_check"),
    ],
)
def test_what_is_in_suspense_goes_over_the_wire(case: str, field: str) -> None:
    """In these the tokens alone would not do."""
    deltas = Asking(**{"prompt": "hello", **CASES[case]}).run(10_000).deltas
    assert any(getattr(delta.held_state, field) for delta in deltas if delta.held_state)


def test_nothing_more_than_the_tokens_goes_over_the_wire_where_they_tell_everything() -> None:
    deltas = Asking("hello", max_tokens=30, ignore_eos=True, stop=("zzzz",)).run(10_000).deltas
    assert {None} == {delta.held_state for delta in deltas}
    assert [0] == [i for i, delta in enumerate(deltas) if delta.timings]


def test_times_go_on_where_they_were() -> None:
    """The wait and the prompt as they were, the writing up to the very end, the pause included."""
    clock = Clock()
    engine = Engine(FakeBackend(config()), config(), clock)
    begun = StartTimings(queue_ms=2_000.0, prompt_ms=3_000.0, cached_tokens=4)
    params = SamplingParams(seed=1, max_tokens=5, ignore_eos=True)
    clock.now = 100.0
    engine.add(
        Request(1, encode("hello"), params, partial_answers=(PartialAnswer([97], begun),), waited_ms=20_000.0)
    )
    finish = None
    while finish is None:
        finish = engine.step()[-1].finish
    assert (4, 5) == (finish.cached_tokens, finish.completion_tokens)
    assert pytest.approx(2_000) == finish.queue_ms
    assert pytest.approx(3_000) == finish.prompt_ms
    assert 15_000 < finish.predicted_ms < 16_000


def test_who_waited_for_a_worker_that_died_has_waited() -> None:
    engine = Engine(FakeBackend(config()), config(), Clock())
    params = SamplingParams(seed=1, max_tokens=1, ignore_eos=True)
    engine.add(Request(1, encode("hello"), params, waited_ms=5_000.0))
    (delta,) = engine.step()
    assert delta.finish
    assert 5_000 < delta.finish.queue_ms < 6_000


def test_a_complete_answer_is_not_written_again() -> None:
    """Of three the others go on."""
    driver = Driver(config())
    tokens = encode("hello")
    params = SamplingParams(seed=1, max_tokens=3, ignore_eos=True)
    written = PartialAnswer([97, 98], StartTimings(0, 0, 0))
    driver.engine.add(Request(1, tokens, params, 3, partial_answers=(None, written, PartialAnswer())))
    driver.answers = {(1, 1): Answer(), (1, 2): Answer()}
    driver.run()
    assert (1, 3) == (len(driver.answers[1, 1].tokens), len(driver.answers[1, 2].tokens))
    assert_clean(driver)


def test_an_answer_that_no_longer_fits_is_refused() -> None:
    """It was begun with a larger context."""
    engine = Engine(FakeBackend(config(ctx=100)), config(ctx=100), Clock())
    written = PartialAnswer([97] * 50, StartTimings(0, 0, 0))
    with pytest.raises(ContextLengthExceeded, match=r"50 tokens.*50.*100"):
        engine.add(Request(1, [98] * 50, SamplingParams(), partial_answers=(written,)))
    with pytest.raises(InvalidRequest, match="258"):
        engine.add(
            Request(1, [98], SamplingParams(), partial_answers=(PartialAnswer([258], StartTimings(0, 0, 0)),))
        )
    assert not engine.has_work


def test_what_was_produced_must_keep_to_the_grammar() -> None:
    """Anything else is a bug, and told as one."""
    engine = Engine(FakeBackend(config()), config(), Clock())
    constraint = engine.constraint_compiler.compile(grammar())
    written = PartialAnswer([97, 98], StartTimings(0, 0, 0))
    with pytest.raises(ConstraintFailed):
        engine.add(Request(1, [98], SamplingParams(), 1, StructuredOutput(grammar()), constraint, (written,)))
    assert not engine.has_work


def test_a_request_without_a_seed_keeps_the_one_it_was_given() -> None:
    """Every worker must draw the same numbers."""
    generation = ResumableGeneration([1], SamplingParams())
    first, second = generation.message(1), generation.message(2)
    assert isinstance(first, Generate)
    assert isinstance(second, Generate)
    assert first.params.seed is not None
    assert first.params == second.params
    assert ResumableGeneration([1], SamplingParams()).message(1) != first
    fixed = ResumableGeneration([1], SamplingParams(seed=5)).message(1)
    assert isinstance(fixed, Generate)
    assert 5 == fixed.params.seed


def test_a_generation_remembers_what_has_been_told() -> None:
    """Of each answer on its own."""
    generation = ResumableGeneration([1], SamplingParams(seed=1), n=3)
    assert (3, False) == (generation.unfinished, generation.has_output)
    first = generation.message(1)
    assert isinstance(first, Generate)
    assert () == first.partial_answers
    begun, pending = StartTimings(1, 2, 3), HeldState([5], False, 9, [])
    generation.note(Delta(1, 0, "a", [4], None, None, begun, pending))
    generation.note(Delta(1, 0, "b", [5, 6]))
    generation.note(Delta(1, 2, "", [], None, Finish("stop", 1, 0, 0)))
    second = generation.message(2)
    assert isinstance(second, Generate)
    assert (PartialAnswer([4, 5, 6], begun, None, [1, 2]), PartialAnswer(), None) == second.partial_answers
    assert second.waited_ms >= first.waited_ms >= 0
    assert (2, True) == (generation.unfinished, generation.has_output)


def test_the_wait_counts_from_when_the_request_was_accepted() -> None:
    """Whoever accepted it: the engine's own queue time is added to it, and nothing is added afterwards."""
    generation = ResumableGeneration([1], SamplingParams(), accepted_at=time.monotonic() - 5)
    message = generation.message(1)
    assert isinstance(message, Generate)
    assert 5_000 <= message.waited_ms < 60_000


def test_a_row_of_the_writing_model_wavers() -> None:
    """Else the draws would not show in the answers."""
    row = Writing(config(), "", "ab")._row([97])
    assert 1.0 < np.sort(row)[-1] - np.sort(row)[-2] + 1.0 < 5.0
    assert FakeVocab.size == len(row)
