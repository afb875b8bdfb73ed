"""An answer that is interrupted anywhere and resumed by a fresh engine is the undisturbed one."""

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
from edgeinfer.inference.output import (
    Delta,
    Finish,
    HeldState,
    PartialAnswer,
    StartTimings,
)
from edgeinfer.inference.sampling import SamplingParams
from edgeinfer.inference.structured_output import UNCONSTRAINED, StructuredOutput
from tests.support.constraints import BUDGET, PERSON, THOUGHT, grammar
from tests.support.engine import Answer, Clock, Driver, assert_clean, config, encode

GREEK = "αβγδε 😀 "
"""Characters of two and four bytes, so of as many of the fake's tokens."""


class Writing(FakeBackend):
    """Repeats `script` after the prompt, and wavers between it and small letters."""

    def __init__(self, config: EngineConfig, prompt: str, script: str) -> None:
        super().__init__(config)
        self._start, self._script = len(prompt.encode()), script.encode()

    def _row(self, tokens: list[int]) -> Row:
        row = super()._row(tokens)
        row[END] = -50.0
        row[self._script[(len(tokens) - self._start) % len(self._script)]] = 6.0
        return row


class ResumedRequest:
    """A request that is answered by several engines; each of them ends after `steps` steps."""

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
        sampling = SamplingParams(**{"seed": 7, "temperature": 0.8} | params)
        self.generation = ResumableGeneration(encode(prompt), sampling, n, False, structured)
        self.answers = [Answer() for _ in range(n)]
        self.deltas: list[Delta] = []
        self.engines = 0
        self.computed: list[tuple[int, int]] = []

    def run(self, steps: int) -> ResumedRequest:
        while self.generation.unfinished:
            engine, num_deltas = self._engine(), len(self.deltas)
            for _ in range(steps):
                for delta in engine.step():
                    self.generation.note(delta)
                    self.answers[delta.index].add(delta)
                    self.deltas.append(delta)
                assert not engine.failures
                engine.check_integrity()
            if len(self.deltas) > num_deltas:
                self.generation.on_progress()
            self.generation.on_crash(alone=False)
        return self

    def _engine(self) -> Engine:
        """A fresh engine that has accepted the request."""
        self.engines += 1
        backend = FakeBackend(self.config)
        if self.script is not None:
            backend = Writing(self.config, self.prompt, self.script)
        record(backend, self.computed)
        engine = Engine(backend, self.config, Clock())
        message = self.generation.message(self.engines)
        assert isinstance(message, Generate)
        tokens = [token for token in message.prompt if isinstance(token, int)]
        grammar = self.structured.grammar
        constraint = engine.constraint_compiler.compile(grammar) if grammar else None
        engine.add(
            Request(
                message.id,
                tokens,
                message.params,
                message.n,
                message.structured,
                constraint,
                message.partial_answers,
                0.0,
            )
        )
        return engine

    @property
    def visible(self) -> list[tuple[str, list[int], Any, tuple[Any, ...]]]:
        """Everything that a caller sees of each answer, without times."""
        return [(a.text, a.tokens, a.logprobs, ending(a.finish)) for a in self.answers]


def record(backend: FakeBackend, computed: list[tuple[int, int]]) -> None:
    """Record where each decode of the one sequence begins, and how many tokens it has."""
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


def count(visible: list[Any]) -> int:
    return max(len(tokens) for _, tokens, _, _ in visible)


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
    "several of different length": {"n": 4, "seed": 11, "stop": ("e", "s"), "max_tokens": 30},
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
def test_answer_interrupted_every_few_steps_is_the_undisturbed_one(
    case: str, steps: int, layout: str
) -> None:
    """This holds for text, tokens, log-probabilities, counts and the finish reason."""
    arguments = {"prompt": "hello", **CASES[case]}
    undisturbed = ResumedRequest(**arguments, layout=layout).run(10_000)
    assert 1 == undisturbed.engines
    disturbed = ResumedRequest(**arguments, layout=layout)
    assert undisturbed.visible == disturbed.run(steps).visible
    assert disturbed.engines > 1 or len(undisturbed.deltas) <= steps * len(undisturbed.answers)


@pytest.mark.parametrize("case", ["drawn", "a schema", "a long forced run", "thinking, logprobs"])
def test_with_a_seed_tokens_are_computed_in_the_same_steps(case: str) -> None:
    """llama.cpp multiplies one row and several in different ways, and a near tie would flip."""
    arguments = {"prompt": "hello", **CASES[case]}
    undisturbed = ResumedRequest(**arguments).run(10_000)
    disturbed = ResumedRequest(**arguments)
    disturbed.run(3)
    begun = [i for i, (position, _) in enumerate(disturbed.computed) if position == 0]
    lives = [disturbed.computed[a:b] for a, b in itertools.pairwise([*begun, None])]
    assert len(lives) > 1
    exact = [life for life in lives if life == undisturbed.computed[: len(life)]]
    hurried = [life for life in lives if life not in exact]
    assert len(exact) > 1
    assert all(life[0][1] > undisturbed.computed[0][1] for life in hurried)


def test_without_a_seed_tokens_are_computed_in_few_steps() -> None:
    """No caller can tell the difference."""
    request = ResumedRequest("hello", max_tokens=20, ignore_eos=True, seed=None)
    request.run(4)
    assert (0, 5 + 4) in request.computed


def test_cases_are_what_they_say() -> None:
    """Stop texts are met or missed, forms are completed, and thoughts are closed."""
    visible = {
        name: ResumedRequest(**{"prompt": "hello", **case}).run(10_000).visible
        for name, case in CASES.items()
    }
    assert "😀 αβγδε 😀 αβγδε" == visible["a stop text within reach"][0][3][4]
    assert ("length", None) == visible["a stop text never reached"][0][3][::4]
    assert "δε 😀 αβγδε 😀 αβ" == visible["logprobs held back"][0][3][4]
    assert len({len(tokens) for _, tokens, _, _ in visible["several of different length"]}) > 1
    for name in ("a schema, completed", "a schema, completed, logprobs"):
        assert PERSON["required"] == list(json.loads(visible[name][0][0]))
    for name in ("a text completed in haste", "the same with logprobs"):
        assert json.loads(visible[name][0][0])
        assert 30 < count(visible[name]) <= 40
    for name in (n for n in CASES if n.startswith("thinking")):
        assert "\n</think>\n\n" in visible[name][0][0]


@pytest.mark.parametrize(
    ("case", "field"),
    [
        ("thinking, logprobs", "forced_tokens"),
        ("the same with logprobs", "is_closing"),
        ("logprobs held back", "logprobs"),
        ("a text completed in haste", "next_close_check"),
    ],
)
def test_held_state_is_sent_where_tokens_alone_would_not_do(case: str, field: str) -> None:
    """Each field is needed in some case."""
    deltas = ResumedRequest(**{"prompt": "hello", **CASES[case]}).run(10_000).deltas
    assert any(getattr(delta.held_state, field) for delta in deltas if delta.held_state)


def test_held_state_is_not_sent_where_tokens_tell_everything() -> None:
    """Timings come with the first delta alone."""
    deltas = ResumedRequest("hello", max_tokens=30, ignore_eos=True, stop=("zzzz",)).run(10_000).deltas
    assert {None} == {delta.held_state for delta in deltas}
    assert [0] == [i for i, delta in enumerate(deltas) if delta.timings]


def test_times_of_a_resumed_answer_include_those_before_the_crash() -> None:
    """Queue and prompt times stay as they were, and the pause counts as generation."""
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


def test_time_at_a_worker_that_died_counts_as_waiting() -> None:
    """The answer had not begun there."""
    engine = Engine(FakeBackend(config()), config(), Clock())
    params = SamplingParams(seed=1, max_tokens=1, ignore_eos=True)
    engine.add(Request(1, encode("hello"), params, waited_ms=5_000.0))
    (delta,) = engine.step()
    assert delta.finish
    assert 5_000 < delta.finish.queue_ms < 6_000


def test_complete_answer_is_not_generated_again() -> None:
    """The other two of three are."""
    driver = Driver(config())
    tokens = encode("hello")
    params = SamplingParams(seed=1, max_tokens=3, ignore_eos=True)
    written = PartialAnswer([97, 98], StartTimings(0, 0, 0))
    driver.engine.add(Request(1, tokens, params, 3, partial_answers=(None, written, PartialAnswer())))
    driver.answers = {(1, 1): Answer(), (1, 2): Answer()}
    driver.run()
    assert (1, 3) == (len(driver.answers[1, 1].tokens), len(driver.answers[1, 2].tokens))
    assert_clean(driver)


def test_partial_answer_that_no_longer_fits_is_refused() -> None:
    """It was begun with a larger context."""
    engine = Engine(FakeBackend(config(ctx=100)), config(ctx=100), Clock())
    written = PartialAnswer([97] * 50, StartTimings(0, 0, 0))
    with pytest.raises(ContextLengthExceeded, match=r"100 tokens.*50 tokens.*50"):
        engine.add(Request(1, [98] * 50, SamplingParams(), partial_answers=(written,)))
    with pytest.raises(InvalidRequest, match="258"):
        engine.add(
            Request(1, [98], SamplingParams(), partial_answers=(PartialAnswer([258], StartTimings(0, 0, 0)),))
        )
    assert not engine.has_work


def test_partial_answer_must_match_its_grammar() -> None:
    """Anything else is a bug, and reported as one."""
    engine = Engine(FakeBackend(config()), config(), Clock())
    constraint = engine.constraint_compiler.compile(grammar())
    written = PartialAnswer([97, 98], StartTimings(0, 0, 0))
    with pytest.raises(ConstraintFailed):
        engine.add(Request(1, [98], SamplingParams(), 1, StructuredOutput(grammar()), constraint, (written,)))
    assert not engine.has_work


def test_request_without_a_seed_keeps_the_one_that_was_drawn_for_it() -> None:
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


def test_generation_records_the_deltas_of_each_answer() -> None:
    """A message asks for the rest alone."""
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


def test_wait_counts_from_when_the_request_was_accepted() -> None:
    """The engine adds its own queue time, and nothing is added afterwards."""
    generation = ResumableGeneration([1], SamplingParams(), accepted_at=time.monotonic() - 5)
    message = generation.message(1)
    assert isinstance(message, Generate)
    assert 5_000 <= message.waited_ms < 60_000


def test_writing_model_wavers() -> None:
    """Otherwise the draws would not show in the answers."""
    row = Writing(config(), "", "ab")._row([97])
    assert 1.0 < np.sort(row)[-1] - np.sort(row)[-2] + 1.0 < 5.0
    assert FakeVocab.size == len(row)
