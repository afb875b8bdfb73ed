"""Constrained answers where something cuts across them: limits, stop texts, thinking, an end in sight, a failure."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from jsonschema import Draft202012Validator

from edgeinfer.engine.backend import Row
from edgeinfer.engine.config import EngineConfig
from edgeinfer.engine.fake import BOS, END, FakeBackend, FakeVocab
from edgeinfer.engine.structured.constraint import Constraint, ConstraintCompiler
from edgeinfer.engine.structured.thinking import ThinkingTracker
from edgeinfer.engine.structured.tokenizer import TextTokenizer
from edgeinfer.errors import ConstraintFailed
from edgeinfer.grammar.limits import PARSER_LIMITS
from edgeinfer.inference.structured_output import StructuredOutput, ThinkingBudget
from tests.support.constraints import BUDGET, PERSON, THOUGHT, grammar
from tests.support.engine import LAYOUTS, Answer, Driver, config

FIXED = grammar(schema={"const": "nobody in particular, nobody at all, not a single one, no one"})
TEXT = '"nobody in particular, nobody at all, not a single one, no one"'
CALL = grammar('start: /[^<]*/ ("<call>" @answer "</call>")?', {"type": "string"})
POSSIBLE = r"""
start: thought? /\n{0,2}/ @answer
thought[lazy]: /<think>(.|\n)*<\/think>/
"""


class Scripted(FakeBackend):
    """A backend that writes `script` after the prompt, and then ends."""

    def __init__(self, config: EngineConfig, prompt: str, script: str) -> None:
        super().__init__(config)
        self._start, self._script = len(prompt), [*script.encode(), END]

    def _row(self, tokens: list[int]) -> Row:
        row = np.full(FakeVocab.size, -9.0, np.float32)
        row[self._script[min(len(tokens) - self._start, len(self._script) - 1)]] = 9.0
        return row


def scripted(script: str, structured: StructuredOutput, **params: Any) -> Answer:
    settings = config(ctx=1024)
    driver = Driver(settings, Scripted(settings, "who?", script))
    driver.add(1, "who?", structured=structured, **{"temperature": 0.0} | params)
    answer = driver.run()
    assert not driver.failed
    return answer


# --- limits and stop texts


@pytest.mark.parametrize("batch", [8, 64])
def test_a_forced_run_may_be_longer_than_a_batch(batch: int) -> None:
    driver = Driver(config(batch=batch))
    free = Driver(config())
    for id in range(4):
        driver.add(id, f"{id}", structured=StructuredOutput(grammar(f'start: /[a-z]/ "{"x" * 50}" /[a-z]/')))
        free.add(id + 4, f"{id + 4}", max_tokens=40)
        driver.add(id + 4, f"{id + 4}", max_tokens=40)
    driver.run()
    free.run()
    assert {len(driver.texts[id, 0]) for id in range(4)} == {52}
    assert {key: driver.texts[key] for key in free.texts} == free.texts


@pytest.mark.parametrize("stop", ["nobody a", "one", TEXT])
@pytest.mark.parametrize("lark", ["start: @answer", 'start: ("x" | "y") @answer'])
def test_a_stop_text_in_what_is_forced_ends_the_answer_there(stop: str, lark: str) -> None:
    driver = Driver(config())
    driver.add(
        1,
        "who?",
        structured=StructuredOutput(grammar(lark, json.loads(FIXED)["grammars"][1]["json_schema"])),
        stop=(stop,),
    )
    answer = driver.run()
    assert answer.finish.stop == stop
    assert answer.text.lstrip("xy") == TEXT[: TEXT.index(stop)]
    assert len(answer.tokens) == answer.finish.completion_tokens == len(answer.text) + len(stop)


@pytest.mark.parametrize("limit", range(1, 6))
def test_what_is_forced_is_cut_at_the_limit(limit: int) -> None:
    driver = Driver(config())
    driver.add(1, "who?", structured=StructuredOutput(FIXED), max_tokens=limit)
    answer = driver.run()
    assert (answer.finish.reason, answer.text) == ("length", TEXT[:limit])


@pytest.mark.parametrize("room", [1, 2, 30])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_is_forced_is_cut_where_the_context_ends(room: int, layout: str) -> None:
    driver = Driver(config(layout, ctx=64))
    driver.add(1, "x" * (64 - room), structured=StructuredOutput(FIXED))
    answer = driver.run()
    assert (answer.finish.reason, answer.text) == ("length", TEXT[:room])


def test_what_an_answer_began_with_is_no_prompt_found_in_the_cache() -> None:
    driver = Driver(config())
    driver.add(1, "who?", structured=StructuredOutput(FIXED))
    driver.run()
    driver.add(2, "who?", structured=StructuredOutput(FIXED))
    driver.run()
    finish = driver.answers[2, 0].finish
    assert (finish.prompt_tokens, finish.cached_tokens) == (4, 4)


# --- thinking


@pytest.mark.parametrize("logprobs", [None, 1])
@pytest.mark.parametrize("complete", [False, True])
def test_with_logprobs_what_is_put_in_has_its_own_too(logprobs: int | None, complete: bool) -> None:
    driver = Driver(config(ctx=512), length=10_000)
    structured = StructuredOutput(grammar(THOUGHT), complete, BUDGET)
    driver.add(1, "who?", structured=structured, max_tokens=90, logprobs=logprobs)
    answer = driver.run()
    thought, tag, said = answer.text.partition(BUDGET.closing)
    assert (len(thought), tag) == (BUDGET.tokens, BUDGET.closing)
    if complete:
        Draft202012Validator(PERSON).validate(json.loads(said))
    if logprobs:
        assert [entry.chosen.token for entry in answer.logprobs] == answer.tokens
        assert b"".join(entry.chosen.piece for entry in answer.logprobs).decode() == answer.text


@pytest.mark.parametrize("logprobs", [None, 0])
@pytest.mark.parametrize("tokens", range(1, 9))
def test_a_budget_that_is_spent_within_what_is_forced_waits(tokens: int, logprobs: int | None) -> None:
    text = grammar("start: thought @answer\nthought[lazy]: /<think>begin:(.|\\n)*<\\/think>/", {"const": 1})
    budget = ThinkingBudget(tokens, False, "<think>", "</think>", "</think>")
    answer = scripted("<think>begin: hm hm hm", StructuredOutput(text, thinking=budget), logprobs=logprobs)
    assert answer.text == f"<think>begin:{' hm hm hm'[: max(0, tokens - 6)]}</think>1"


@pytest.mark.parametrize("pieces", [["<think>", "a</thi", "nk>b"], ["\n<th", "ink>a", "</think>", "b"]])
def test_thinking_is_followed_across_tokens(pieces: list[str]) -> None:
    thinking = ThinkingTracker(ThinkingBudget(9, False, "<think>", "</think>", ""), [])
    states = []
    for piece in pieces:
        thinking.push(piece.encode())
        states.append(thinking.active)
    opened = next(n for n, _ in enumerate(pieces) if "<think>" in "".join(pieces[: n + 1]))
    closed = next(n for n, _ in enumerate(pieces) if "</think>" in "".join(pieces[: n + 1]))
    assert states == [opened <= n < closed for n in range(len(pieces))]


# --- an end in sight


@pytest.mark.parametrize("lark", [THOUGHT, POSSIBLE])
def test_to_be_completed_does_not_keep_an_answer_from_thinking(lark: str) -> None:
    said = '{"name": "Ada", "age": 36, "tags": ["red"]}'
    opened = lark is THOUGHT
    budget = ThinkingBudget(1000, opened, "<think>", "</think>", "\n</think>\n\n")
    for thought in ("</think>", "hm</think>"):
        script = f"{'' if opened else '<think>'}{thought}\n\n{said}"
        answer = scripted(script, StructuredOutput(grammar(lark), True, budget), max_tokens=500)
        assert answer.text == script


@pytest.mark.parametrize("limit", range(60, 100, 3))
def test_thinking_that_leaves_no_room_is_closed_early_enough(limit: int) -> None:
    budget = ThinkingBudget(1000, True, "<think>", "</think>", "\n</think>\n\n")
    answer = scripted("hm " * 200, StructuredOutput(grammar(THOUGHT), True, budget), max_tokens=limit)
    assert answer.finish.reason == "stop"
    Draft202012Validator(PERSON).validate(json.loads(answer.text.partition("</think>")[2]))


def test_what_was_led_to_its_end_does_not_go_on() -> None:
    digits = StructuredOutput(grammar(r"start: /-[0-9]+(\.[0-9]+)?/"), complete=True)
    answer = scripted("-" + "1" * 4 + "." + "5" * 50, digits, max_tokens=6)
    assert (answer.text, answer.finish.reason) == ("-1111", "length")


def test_what_cannot_be_completed_any_more_is_not_begun() -> None:
    answer = scripted('well well <call>"hello"</call>', StructuredOutput(CALL, complete=True), max_tokens=20)
    assert (answer.text, answer.finish.reason) == ("well well ", "length")
    answer = scripted('well well <call>"hello"</call>', StructuredOutput(CALL, complete=True), max_tokens=28)
    assert (answer.text, answer.finish.reason) == ('well well <call>"hel"</call>', "stop")


def test_an_end_that_was_not_found_is_looked_for_again() -> None:
    """The search would only write a's; the model finds an end."""
    hard = StructuredOutput(grammar(r'start: /[a-z ]*/ ("<" /[a-z]+ing/ ">")?'), complete=True)
    assert scripted("so <nothing>", hard, max_tokens=200).text == "so <nothing>"


# --- failure


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_grammar_that_exceeds_its_limits_does_not_pass_for_one_that_ends(
    layout: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = Driver(config(layout))
    driver.add(1, "hello")
    monkeypatch.setitem(PARSER_LIMITS, "max_lexer_states", 12)
    driver.add(
        2, "hello", n=3, structured=StructuredOutput(grammar('start: (("a"|"b") /[a-z]+/ ("c" | "d"))*'))
    )
    assert driver.run().finish.reason == "stop"
    assert driver.failed == {2: "constraint_failed"}
    assert not any(driver.answers[2, index].finishes for index in range(3))
    assert driver.engine.stats().cells_used == 0


def test_an_error_in_a_mask_that_was_prepared_is_one_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PARSER_LIMITS, "max_lexer_states", 12)
    place = ConstraintCompiler(TextTokenizer(FakeVocab())).compile(
        grammar('start: (("a"|"b") /[a-z]+/ ("c" | "d"))*')
    )
    place.compute_mask()
    assert not place.allows(END)
    assert not place.stopped
    with pytest.raises(ConstraintFailed, match="too many states"):
        place.mask_bits()


def test_when_one_of_n_answers_fails_the_others_end_with_it() -> None:
    class Third(Constraint):
        def allows(self, token: int) -> bool:
            raise ConstraintFailed("no")

    driver = Driver(config())
    driver.add(1, "hello", n=5, structured=StructuredOutput(grammar()), max_tokens=11)
    for sequence in list(driver.engine.scheduler.waiting)[1:3]:
        assert sequence.constraint
        sequence.constraint.__class__ = Third
    driver.run()
    assert driver.failed == {1: "constraint_failed"}


# --- vocabularies


class TextualEnd(FakeVocab):
    """The end token has a text, as if the file called it user-defined."""

    def piece(self, token: int, *, special: bool = False) -> bytes:
        return b"<end>" if token == END else super().piece(token, special=special)


class Endless(FakeVocab):
    """A vocabulary without an end token works."""

    def is_end(self, token: int) -> bool:
        return False


def test_an_end_that_has_a_text_is_an_end_all_the_same() -> None:
    place = ConstraintCompiler(TextTokenizer(TextualEnd())).compile(grammar("start: /[^z]*z/"))
    assert not place.allows(END)
    place.compute_mask()
    assert not place.allows(END)
    place.accept(ord("z"))
    assert place.stopped


@pytest.mark.parametrize("lark", ["start: @answer", 'start: ""', "start: /[ab]{0,3}/", 'start: "ab"'])
@pytest.mark.parametrize("bos", [BOS, None])
def test_a_vocabulary_may_have_no_end(lark: str, bos: int | None) -> None:
    vocab = Endless()
    vocab.bos = bos  # type: ignore[assignment]
    settings = config(ctx=512)
    backend = FakeBackend(settings)
    backend.vocab = vocab
    driver = Driver(settings, backend)
    driver.add(1, "who?", structured=StructuredOutput(grammar(lark)), max_tokens=300)
    answer = driver.run()
    assert answer.finish.reason == "stop"
    if "answer" in lark:
        Draft202012Validator(PERSON).validate(json.loads(answer.text))


# --- from request to request


def test_a_grammar_in_steady_use_does_not_wear_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests do not use up each other's lexer states, which copies of a matcher share."""
    monkeypatch.setitem(PARSER_LIMITS, "max_lexer_states", 200)
    chance, grammars = random.Random(1), ConstraintCompiler(TextTokenizer(FakeVocab()))
    for _ in range(6):
        place = grammars.compile(grammar("start: /[a-z]*x[a-z]{12}y/"))
        for token in chance.choices(b"abx", k=60):
            place.mask_bits()
            place.accept(token)


WITHOUT = f"""
import sys
sys.modules["llguidance"] = None
from tests.support.engine import Driver, config
from edgeinfer.inference.structured_output import StructuredOutput
from edgeinfer.errors import UnsupportedParameter
driver = Driver(config())
try:
    driver.add(1, "who?", structured=StructuredOutput({FIXED!r}))
except UnsupportedParameter as e:
    assert "llguidance" in e.message and e.hint, e
else:
    raise AssertionError("it was not refused")
driver.add(2, "who?")
assert driver.run().finish.reason == "stop"
"""


def test_without_llguidance_constraints_are_refused_and_the_rest_works() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT], cwd="tests", capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
