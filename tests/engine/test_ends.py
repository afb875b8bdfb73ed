from __future__ import annotations

import math
import random

import numpy as np
import pytest

from edgeinfer.engine.engine import Engine
from edgeinfer.engine.fake import END, VOCAB_SIZE, FakeBackend, FakeVocab
from edgeinfer.engine.sequence import Request
from edgeinfer.errors import ContextLengthExceeded, InvalidRequest
from edgeinfer.inference.sampling import SamplingParams
from tests.support.engine import (
    LAYOUTS,
    SYSTEM,
    Clock,
    Driver,
    assert_clean,
    config,
    encode,
    plain,
    row_after,
)

both = pytest.mark.parametrize("layout", LAYOUTS)


@both
def test_max_tokens_of_1_gives_one_token(layout: str) -> None:
    """The prefill itself yields the only token."""
    driver = Driver(config(layout))
    driver.add(1, "hello", max_tokens=1, ignore_eos=True)
    answer = driver.run()
    assert (1, 1, "length") == (len(answer.tokens), answer.finish.completion_tokens, answer.finish.reason)
    assert_clean(driver)


@both
def test_without_max_tokens_an_answer_runs_to_the_end_of_the_context(layout: str) -> None:
    """The finish reason is "length", and prompt and answer fill the context exactly."""
    driver = Driver(config(layout, ctx=100))
    driver.add(1, "hello", ignore_eos=True)
    answer = driver.run()
    assert (95, "length") == (answer.finish.completion_tokens, answer.finish.reason)
    assert_clean(driver)


@both
def test_max_tokens_beyond_the_context_ends_with_it(layout: str) -> None:
    """A limit beyond the context has no effect."""
    driver = Driver(config(layout, ctx=100))
    driver.add(1, "hello", ignore_eos=True, max_tokens=10_000)
    assert 95 == driver.run().finish.completion_tokens


@both
def test_a_prompt_that_leaves_room_for_one_token_gets_one(layout: str) -> None:
    """The longest possible prompt still gets one token."""
    driver = Driver(config(layout, ctx=100, cells=100 if layout == "unified" else 900))
    driver.add(1, "x" * 99, ignore_eos=True)
    assert (1, "length") == (driver.run().finish.completion_tokens, driver.answers[1, 0].finish.reason)
    assert_clean(driver)


@both
@pytest.mark.parametrize("length", [100, 101, 5000])
def test_a_prompt_that_leaves_no_room_is_refused_with_the_counts(layout: str, length: int) -> None:
    """A long prompt is refused, not truncated or left waiting."""
    driver = Driver(config(layout, ctx=100))
    with pytest.raises(ContextLengthExceeded, match=f"100 tokens.*has {length} tokens"):
        driver.add(1, "x" * length)
    assert_clean(driver)


def test_an_empty_prompt_is_refused() -> None:
    """Without a token there are no logits to start from."""
    with pytest.raises(InvalidRequest) as error:
        Driver(config()).add(1, "")
    assert "prompt" == error.value.param


@pytest.mark.parametrize("token", [-1, VOCAB_SIZE, 2**31, -(2**31)])
def test_a_token_that_the_vocabulary_lacks_is_refused(token: int) -> None:
    """The engine refuses such tokens, because llama.cpp would abort the process."""
    with pytest.raises(InvalidRequest, match=f"{token}.*{VOCAB_SIZE}"):
        Driver(config()).add(1, [1, 2, token, 3])


@pytest.mark.parametrize("token", [-1, VOCAB_SIZE, 999_999])
def test_a_bias_for_a_token_that_the_vocabulary_lacks_is_refused(token: int) -> None:
    """The request is refused before anything is computed."""
    driver = Driver(config())
    with pytest.raises(InvalidRequest, match=f"{token}.*{VOCAB_SIZE}") as error:
        driver.add(1, "hello", logit_bias={97: 1.0, token: 1.0})
    assert "logit_bias" == error.value.param
    assert_clean(driver)


@both
def test_an_end_token_ends_an_answer_and_is_no_part_of_it(layout: str) -> None:
    """The finish reason is "stop", without a stop text."""
    driver = Driver(config(layout), length=5)
    driver.add(1, "hello")
    answer = driver.run()
    assert ("stop", None) == (answer.finish.reason, answer.finish.stop)
    assert END not in answer.tokens
    assert len(answer.tokens) == answer.finish.completion_tokens
    assert plain("hello", seed=1001, length=5) == answer.text


@both
def test_ignore_eos_goes_on_after_an_end_token(layout: str) -> None:
    """With ignore_eos the answer reaches max_tokens, end tokens included."""
    driver = Driver(config(layout), length=5)
    driver.add(1, "hello", ignore_eos=True, max_tokens=60)
    answer = driver.run()
    assert (60, "length") == (answer.finish.completion_tokens, answer.finish.reason)
    assert END in answer.tokens
    assert plain("hello", seed=1001, length=5, ignore_eos=True, max_tokens=60) == answer.text


@both
def test_a_stop_text_ends_an_answer(layout: str) -> None:
    """The stop text is named and cut off; the answer before it is unchanged."""
    whole = plain("hello", seed=1001, ignore_eos=True, max_tokens=60)
    stop = whole[17:20]
    driver = Driver(config(layout))
    driver.add(1, "hello", ignore_eos=True, max_tokens=60, stop=("never!", stop))
    answer = driver.run()
    assert ("stop", stop) == (answer.finish.reason, answer.finish.stop)
    assert whole.partition(stop)[0] == answer.text
    assert_clean(driver)


@both
def test_text_held_back_for_a_stop_that_never_comes_is_sent_at_the_end(layout: str) -> None:
    """The text is complete, however the answer ends."""
    whole = plain("hello", seed=1001, ignore_eos=True, max_tokens=20)
    driver = Driver(config(layout))
    driver.add(1, "hello", ignore_eos=True, max_tokens=20, stop=(whole[-3:] + "!",))
    answer = driver.run()
    assert (whole, "length", None) == (answer.text, answer.finish.reason, answer.finish.stop)


@both
@pytest.mark.parametrize("k", [0, 3])
def test_each_token_has_its_logprob(layout: str, k: int) -> None:
    """Each token has one entry with the k most likely candidates, best first."""
    driver = Driver(config(layout))
    driver.add(1, "hello", n=2, ignore_eos=True, max_tokens=30, logprobs=k)
    driver.run()
    for answer in driver.answers.values():
        assert answer.tokens == [entry.chosen.token for entry in answer.logprobs]
        for entry in answer.logprobs:
            assert FakeVocab().piece(entry.chosen.token) == entry.chosen.piece
            top = [t.logprob for t in entry.top]
            assert k == len(top)
            assert sorted(top, reverse=True) == top


@both
def test_logprobs_are_of_the_raw_logits(layout: str) -> None:
    """Log-probabilities ignore penalties, biases, temperature and filters."""
    driver = Driver(config(layout))
    driver.add(1, "hello", max_tokens=5, ignore_eos=True, logprobs=5, logit_bias={65: 100.0}, temperature=3.0)
    answer = driver.run()
    assert "AAAAA" == answer.text
    tokens = encode("hello")
    for entry in answer.logprobs:
        row = row_after(tokens).astype(np.float64)
        total = math.log(np.exp(row).sum())
        assert entry.chosen.logprob == pytest.approx(row[65] - total, abs=1e-4)
        assert [t.logprob for t in entry.top] == pytest.approx(np.sort(row)[::-1][:5] - total, abs=1e-4)
        tokens.append(65)


@both
def test_without_logprobs_there_are_none(layout: str) -> None:
    """Without logprobs in the request, none are computed."""
    driver = Driver(config(layout))
    driver.add(1, "hello", max_tokens=5)
    while driver.engine.has_work:
        assert all(delta.logprobs is None for delta in driver.step())


@both
def test_the_logprobs_of_an_answer_spell_its_text(layout: str) -> None:
    """Tokens of a stop text have no entries, even if it spans tokens."""
    whole = plain("hello", seed=1001, ignore_eos=True, max_tokens=60)
    driver = Driver(config(layout))
    driver.add(1, "hello", ignore_eos=True, max_tokens=60, stop=(whole[17:20],), logprobs=0)
    answer = driver.run()
    assert answer.text == b"".join(e.chosen.piece for e in answer.logprobs).decode()


@both
def test_every_answer_ends_exactly_once_and_says_what_it_cost(layout: str) -> None:
    """Counts are right for many different requests, some of them cancelled."""
    chance = random.Random(3)
    driver = Driver(config(layout, parallel=3, batch=24, cells=512))
    for id in range(40):
        prompt = SYSTEM[: chance.randrange(1, len(SYSTEM))]
        many = chance.choice([1, 1, 1, 4])
        driver.add(id, prompt, n=many, max_tokens=chance.choice([None, 1, 20]), stop=("e", "xx"))
        driver.step()
        if chance.random() < 0.2:
            driver.cancel(chance.randrange(id + 1))
    driver.run()
    assert len(driver.answers) > 40
    for answer in driver.answers.values():
        finish = answer.finish
        assert len(answer.tokens) == finish.completion_tokens
        assert 0 <= finish.cached_tokens < finish.prompt_tokens
        assert min(finish.queue_ms, finish.prompt_ms, finish.predicted_ms) >= 0
    assert_clean(driver)


@both
def test_the_times_of_an_answer_are_those_of_the_clock(layout: str) -> None:
    """The finish has the times for waiting, reading and writing, in milliseconds."""
    engine = Engine(FakeBackend(config(layout)), config(layout, parallel=1), clock := Clock())
    for id in (1, 2):
        engine.add(Request(id, encode("hello"), SamplingParams(ignore_eos=True, max_tokens=3, seed=1)))
    finishes = []
    while engine.has_work:
        clock.now += 1.0
        finishes += [d.finish for d in engine.step() if d.finish]
    first, second = finishes
    assert [1000, 0, 2000] == [round(t, -2) for t in (first.queue_ms, first.prompt_ms, first.predicted_ms)]
    assert [4000, 0, 2000] == [round(t, -2) for t in (second.queue_ms, second.prompt_ms, second.predicted_ms)]
