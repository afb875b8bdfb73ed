from __future__ import annotations

import math
from typing import Any

import pytest

from edgeinfer.engine.backend import Batch, DecodeStatus, Row
from edgeinfer.engine.config import EngineConfig
from edgeinfer.engine.engine import Engine
from edgeinfer.engine.fake import FakeBackend
from tests.support.engine import (
    ALONE,
    LAYOUTS,
    PROMPTS,
    SYSTEM,
    Driver,
    Failing,
    assert_clean,
    config,
    padded,
    plain,
)

both = pytest.mark.parametrize("layout", LAYOUTS)
OK, NO_SPACE, FAILED = DecodeStatus.OK, DecodeStatus.NO_SPACE, DecodeStatus.FAILED


@both
def test_a_failed_decode_is_tried_again(layout: str) -> None:
    """Answers are unchanged if a decode succeeds at the second or third attempt."""
    backend = Failing(config(layout), script=(FAILED, OK, FAILED, FAILED, OK, OK, FAILED))
    driver = Driver(config(layout), backend)
    for id, prompt in enumerate(PROMPTS):
        driver.add(id, prompt, temperature=0.8)
    driver.run()
    assert ALONE == list(driver.texts.values())
    assert {} == driver.failed
    assert_clean(driver)


@both
def test_a_decode_that_keeps_failing_fails_those_in_it_alone(layout: str) -> None:
    """Only the requests in the batch fail, after retries; waiting and later ones are answered."""
    backend = Failing(config(layout), script=(OK, *(FAILED,) * (Engine.MAX_RETRIES + 1)))
    driver = Driver(config(layout, parallel=2), backend)
    for id in range(4):
        driver.add(id, PROMPTS[id][-12:], temperature=0.8)
    driver.run()
    assert {0: "decode_failed", 1: "decode_failed"} == driver.failed
    assert [0, 0, 1, 1] == [len(driver.answers[id, 0].finishes) for id in range(4)]
    driver.add(4, "later")
    driver.run()
    assert 1 == len(driver.answers[4, 0].finishes)
    assert_clean(driver)


@both
def test_a_failed_request_fails_once_for_all_its_answers(layout: str) -> None:
    """One error ends the whole request, including its waiting answers."""
    driver = Driver(config(layout, parallel=2), Failing(config(layout), poison=ord("!")))
    driver.add(1, "poison!" * 10, n=4)
    driver.run()
    assert {1: "decode_failed"} == driver.failed
    assert [0, 0, 0, 0] == [len(a.finishes) for a in driver.answers.values()]
    assert_clean(driver)


@both
def test_what_a_failed_request_computed_is_not_trusted_again(layout: str) -> None:
    """The next request with the same prompt computes all its cells again."""
    backend = Failing(config(layout), script=(OK, *(FAILED,) * (Engine.MAX_RETRIES + 1)))
    driver = Driver(config(layout), backend)
    driver.add(1, SYSTEM)
    driver.run()
    driver.add(2, SYSTEM)
    driver.run()
    assert 0 == driver.answers[2, 0].finish.cached_tokens
    assert plain(SYSTEM, seed=1002) == driver.answers[2, 0].text


class NoNumbers(FakeBackend):
    """Computes `value` where the last token is an exclamation mark."""

    def __init__(self, config: EngineConfig, value: float) -> None:
        super().__init__(config)
        self._value = value
        self._bad: set[int] = set()

    def decode(self, batch: Batch) -> DecodeStatus:
        self._bad = {i for i in range(batch.size) if batch.tokens[i] == ord("!")}
        return super().decode(batch)

    def logits(self, index: int) -> Row:
        row = super().logits(index)
        if index in self._bad:
            row[3] = self._value
        return row


@both
@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize(
    "params", [{}, {"temperature": 0.0}, {"logprobs": 2}, {"repeat_penalty": 1.5}, {"top_k": 1}], ids=str
)
def test_logits_that_are_no_numbers_fail_their_request_alone(
    layout: str, value: float, params: dict[str, Any]
) -> None:
    """The others go on, and nothing that was computed before is used again: it may be as bad."""
    driver = Driver(config(layout), NoNumbers(config(layout), value))
    driver.add(0, SYSTEM)
    driver.run()
    for id, prompt in enumerate(PROMPTS, 1):
        driver.add(id, prompt, temperature=0.8)
    driver.add(9, "a" * 20 + "!", n=2, **params)
    driver.run()
    assert {9: "decode_failed"} == driver.failed
    assert all(driver.answers[id, 0].finishes for id in range(1, len(PROMPTS) + 1))
    assert_clean(driver)
    driver.add(10, "a" * 20 + "b")
    driver.run()
    assert 0 == driver.answers[10, 0].finish.cached_tokens


@both
def test_tokens_that_a_model_rules_out_are_no_fault(layout: str) -> None:
    driver = Driver(config(layout), NoNumbers(config(layout), -math.inf))
    driver.add(1, "a" * 20 + "!", logprobs=2)
    driver.run()
    assert {} == driver.failed
    assert 1 == len(driver.answers[1, 0].finishes)


@both
def test_when_the_backend_has_no_space_the_youngest_waits(layout: str) -> None:
    """No request fails, and no answer changes."""
    backend = Failing(config(layout), script=(OK, OK, NO_SPACE, OK, NO_SPACE, NO_SPACE))
    driver = Driver(config(layout), backend)
    for id, prompt in enumerate(PROMPTS):
        driver.add(id, prompt, temperature=0.8)
    driver.run()
    assert ALONE == list(driver.texts.values())
    assert {} == driver.failed
    assert driver.engine.stats().preemptions_total >= 3
    assert_clean(driver)


@both
def test_a_backend_that_never_has_space_fails_a_request_instead_of_going_round(layout: str) -> None:
    """A request that does not fit even alone in the cache fails."""
    backend = Failing(config(layout), script=(NO_SPACE,) * 10)
    driver = Driver(config(layout), backend)
    driver.add(1, "hello")
    driver.run(limit=20)
    assert {1: "decode_failed"} == driver.failed
    assert_clean(driver)


@both
def test_an_abort_is_no_failure(layout: str) -> None:
    """Aborts never fail the requests that shared the batch."""
    driver = Driver(config(layout), Failing(config(layout), script=(DecodeStatus.ABORTED,) * 50))
    driver.add(1, "hello", temperature=0.8)
    driver.run()
    assert plain("hello", seed=1001, temperature=0.8) == driver.answers[1, 0].text


class Watched(FakeBackend):
    """A backend that calls a function during each decode."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.driver: Driver | None = None
        self.abort_for: int | None = None
        self.statuses: list[DecodeStatus] = []

    def decode(self, batch: Batch) -> DecodeStatus:
        if self.driver and self.abort_for is not None:
            self.driver.engine.abort_prefill(self.abort_for)
        self.statuses.append(super().decode(batch))
        return self.statuses[-1]


@pytest.mark.parametrize("padding", [False, True])
def test_room_for_every_token_of_a_step_is_reserved(padding: bool) -> None:
    """The backend's pool never runs out, even if it has a few cells more than configured."""
    pool = config("unified", ctx=96, cells=200, parallel=4)
    backend = Watched(padded(pool) if padding else pool, 1000)
    driver = Driver(pool, backend)
    for id in range(4):
        driver.add(id, f"{id}" * 20, ignore_eos=True)
    driver.run()
    assert {DecodeStatus.OK} == set(backend.statuses)
    assert [76] * 4 == [answer.finish.completion_tokens for answer in driver.answers.values()]
    assert_clean(driver)


@both
def test_abort_prefill_cuts_the_decode_short_that_computes_the_prompt(layout: str) -> None:
    """Cancelling a request aborts the decode of its prompt."""
    backend = Watched(config(layout))
    driver = backend.driver = Driver(config(layout), backend)
    driver.add(1, SYSTEM)
    backend.abort_for = 1
    driver.step()
    assert [DecodeStatus.ABORTED] == backend.statuses
    driver.cancel(1)
    assert_clean(driver)


@both
def test_abort_prefill_between_two_steps_cuts_the_next_one_short(layout: str) -> None:
    """The prompt is about to be computed. It happens once, and costs no answer."""
    backend = Watched(config(layout))
    driver = Driver(config(layout), backend)
    driver.add(1, "hello", temperature=0.8)
    driver.engine.abort_prefill(1)
    driver.engine.abort_prefill(99)
    driver.run()
    assert [DecodeStatus.ABORTED, DecodeStatus.OK] == backend.statuses[:2]
    assert backend.statuses.count(DecodeStatus.ABORTED) == 1
    assert plain("hello", seed=1001, temperature=0.8) == driver.answers[1, 0].text


@both
def test_abort_prefill_leaves_other_decodes_alone(layout: str) -> None:
    """A decode is not aborted for a request that is decoding or not in the batch."""
    backend = Watched(config(layout))
    driver = backend.driver = Driver(config(layout), backend)
    driver.add(1, "hello", max_tokens=5, ignore_eos=True)
    driver.step()
    backend.abort_for = 1
    driver.step()
    backend.abort_for = 99
    driver.run()
    assert {DecodeStatus.OK} == set(backend.statuses)


@both
def test_an_abort_between_steps_disturbs_nothing(layout: str) -> None:
    """A late abort does not affect the next decode."""
    driver = Driver(config(layout))
    driver.add(1, "hello", temperature=0.8)
    while driver.engine.has_work:
        driver.backend.abort()
        driver.step()
    assert plain("hello", seed=1001, temperature=0.8) == driver.answers[1, 0].text
