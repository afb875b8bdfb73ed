from __future__ import annotations

import math
import random
from typing import Any

import numpy as np
import pytest
from test_engine_support import LAYOUTS, Clock, Driver, config, encode, padded, plain, row_after

from edgeinfer.engine.backend import Batch, DecodeStatus
from edgeinfer.engine.engine import Engine
from edgeinfer.engine.fake import BOS, CONTROL, END, VOCAB_SIZE, FakeBackend, FakeVocab
from edgeinfer.engine.sampling import SamplingParams
from edgeinfer.engine.sequence import Request
from edgeinfer.errors import ContextLengthExceeded, InvalidRequest

both = pytest.mark.parametrize("layout", LAYOUTS)
SYSTEM = "You are a helpful assistant on a small machine, and you answer in few words. " * 2
PROMPTS = [SYSTEM[: 20 * i] + f"Question {i}?" for i in range(8)]


class Failing(FakeBackend):
    """Decodes end as `script` says, one entry each, and then well. A failed one leaves half of its cells behind."""

    def __init__(self, *args: Any, script: tuple[DecodeStatus, ...] = (), poison: int | None = None) -> None:
        super().__init__(*args)
        self.script = list(script)
        self.poison = poison
        self.decodes = 0

    def decode(self, batch: Batch) -> DecodeStatus:
        self.decodes += 1
        status = self.script.pop(0) if self.script else DecodeStatus.OK
        if self.poison in batch.tokens[: batch.size]:
            status = DecodeStatus.FAILED
        if status in (DecodeStatus.FAILED, DecodeStatus.ABORTED):
            size, batch.size = batch.size, batch.size // 2
            super().decode(batch)
            batch.size = size
        return super().decode(batch) if status is DecodeStatus.OK else status


OK, NO_SPACE, FAILED = DecodeStatus.OK, DecodeStatus.NO_SPACE, DecodeStatus.FAILED


def assert_clean(driver: Driver) -> None:
    """Nothing runs, nothing waits, and the books balance."""
    stats = driver.engine.stats()
    assert (0, 0, 0) == (stats.running, stats.waiting, stats.cells_used)
    assert not driver.engine.has_work
    assert not any(slot.running for slot in driver.engine.cache.slots)
    driver.engine.check_integrity()


def answers(layout: str = "streams", *, one_by_one: bool = False, **changes: Any) -> list[str]:
    """Answers to PROMPTS, each with its own seed."""
    driver = Driver(config(layout, **changes))
    for id, prompt in enumerate(PROMPTS):
        driver.add(id, prompt, temperature=0.8)
        if one_by_one:
            driver.run()
    driver.run()
    assert_clean(driver)
    return list(driver.texts.values())


ALONE = [plain(p, seed=1000 + id, temperature=0.8) for id, p in enumerate(PROMPTS)]


@both
def test_answers_one_by_one_are_those_of_a_plain_loop(layout: str) -> None:
    """The engine changes the speed of an answer, never its words."""
    assert ALONE == answers(layout, one_by_one=True)


@both
def test_answers_in_a_batch_of_8_are_the_same(layout: str) -> None:
    """Though their prompts overlap and their prefixes are shared."""
    assert ALONE == answers(layout)


@both
@pytest.mark.parametrize("parallel", [1, 3])
def test_answers_that_had_to_wait_are_the_same(layout: str, parallel: int) -> None:
    """With fewer places than requests."""
    assert ALONE == answers(layout, parallel=parallel)


@both
@pytest.mark.parametrize("batch", [8, 13, 512])
def test_answers_to_prompts_in_chunks_are_the_same(layout: str, batch: int) -> None:
    """However small or large."""
    assert ALONE == answers(layout, batch=batch)


def test_answers_that_were_preempted_are_the_same() -> None:
    """The pool is too small for all of them at once."""
    driver = Driver(config("unified", cells=320, parallel=4))
    for id, prompt in enumerate(PROMPTS):
        driver.add(id, prompt, temperature=0.8)
    driver.run()
    assert driver.engine.stats().preemptions_total > 0
    assert ALONE == list(driver.texts.values())
    assert_clean(driver)


@both
def test_answers_after_an_abort_inside_the_prefill_are_the_same(layout: str) -> None:
    """What the cut-short decode left in the cache is dropped, and the work done again."""
    aborts = (DecodeStatus.ABORTED,) * 5
    backend = Failing(config(layout), script=(*aborts, OK, *aborts, OK, OK, *aborts))
    driver = Driver(config(layout), backend)
    for id, prompt in enumerate(PROMPTS):
        driver.add(id, prompt, temperature=0.8)
    driver.run()
    assert ALONE == list(driver.texts.values())
    assert {} == driver.failed
    assert_clean(driver)


@both
def test_n_answers_to_one_prompt_differ_and_are_those_of_a_plain_loop(layout: str) -> None:
    """Each draws from its own stream of the request's seed."""
    driver = Driver(config(layout))
    driver.add(1, SYSTEM, n=3, temperature=1.0, seed=5)
    driver.run()
    expected = [plain(SYSTEM, index=i, seed=5, temperature=1.0) for i in range(3)]
    assert expected == list(driver.texts.values())
    assert 3 == len(set(expected))


@both
def test_n_answers_compute_their_prompt_once(layout: str) -> None:
    """The others wait for the first one's prefix, and compute one token each."""
    driver = Driver(config(layout, batch=512))
    driver.add(1, SYSTEM, n=3)
    driver.run()
    prompt = len(SYSTEM)
    cached = [driver.answers[1, i].finish.cached_tokens for i in range(3)]
    assert [0, prompt - 1, prompt - 1] == cached
    stats = driver.engine.stats()
    assert (prompt + 2, 2 * prompt - 2) == (stats.prompt_tokens_total, stats.cached_tokens_total)


@both
def test_eight_requests_with_the_same_long_prompt_cost_one_prefill(layout: str) -> None:
    """One system prompt serves eight."""
    driver = Driver(config(layout, batch=512))
    for id in range(8):
        driver.add(id, SYSTEM + f" {id}")
    driver.run()
    shared, tail = len(SYSTEM) + 1, 1
    cached = sorted(a.finish.cached_tokens for a in driver.answers.values())
    assert [0] + [shared] * 7 == cached
    assert shared + 8 * tail == driver.engine.stats().prompt_tokens_total
    assert 7 * shared == driver.engine.stats().cached_tokens_total


@both
def test_a_second_turn_finds_the_first_in_the_cache(layout: str) -> None:
    """Prompt and answer both: a conversation is read once."""
    driver = Driver(config(layout))
    driver.add(1, SYSTEM, max_tokens=20, ignore_eos=True)
    first = driver.run()
    driver.add(2, encode(SYSTEM) + first.tokens + encode("And then?"))
    driver.run()
    # The last token of an answer is sampled and never computed.
    assert len(SYSTEM) + 19 == driver.answers[2, 0].finish.cached_tokens


@both
@pytest.mark.parametrize("moment", ["waiting", "prefilling", "decoding", "ended"])
def test_a_cancelled_request_leaves_nothing_running(layout: str, moment: str) -> None:
    """Whenever the caller goes away."""
    driver = Driver(config(layout, parallel=1 if moment == "waiting" else 4, batch=16))
    driver.add(0, "the first", ignore_eos=True, max_tokens=100 if moment == "waiting" else 5)
    driver.add(1, SYSTEM, n=2, max_tokens=50, ignore_eos=True)
    steps = {"waiting": 2, "prefilling": 3, "decoding": 25, "ended": 400}[moment]
    for _ in range(steps):
        driver.step()
    produced = bool(driver.answers[1, 0].tokens)
    assert produced == (moment in ("decoding", "ended"))
    driver.cancel(1)
    driver.engine.check_integrity()
    driver.run()
    assert {(0, 0)} == driver.answers.keys()
    assert_clean(driver)


@both
def test_cancelling_what_is_not_there_is_ignored(layout: str) -> None:
    """It may have ended a moment ago."""
    driver = Driver(config(layout))
    driver.cancel(7)
    driver.add(1, "hello", max_tokens=2)
    driver.run()
    driver.engine.cancel(1)
    assert_clean(driver)


@both
def test_others_do_not_notice_a_cancellation(layout: str) -> None:
    """Not even those that share its prefix."""
    driver = Driver(config(layout, batch=32))
    for id, prompt in enumerate(PROMPTS):
        driver.add(id, prompt, temperature=0.8)
    for id in (0, 7, 3):
        for _ in range(4):
            driver.step()
        driver.cancel(id)
    driver.run()
    assert {(i, 0): ALONE[i] for i in (1, 2, 4, 5, 6)} == driver.texts
    assert_clean(driver)


@both
def test_max_tokens_of_1_gives_one_token(layout: str) -> None:
    """Which the prefill itself brings."""
    driver = Driver(config(layout))
    driver.add(1, "hello", max_tokens=1, ignore_eos=True)
    answer = driver.run()
    assert (1, 1, "length") == (len(answer.tokens), answer.finish.completion_tokens, answer.finish.reason)
    assert_clean(driver)


@both
def test_without_max_tokens_an_answer_runs_to_the_end_of_the_context(layout: str) -> None:
    """And says that it was cut: prompt and answer fill it exactly."""
    driver = Driver(config(layout, ctx=100))
    driver.add(1, "hello", ignore_eos=True)
    answer = driver.run()
    assert (95, "length") == (answer.finish.completion_tokens, answer.finish.reason)
    assert_clean(driver)


@both
def test_max_tokens_beyond_the_context_ends_with_it(layout: str) -> None:
    """The context is the tighter bound."""
    driver = Driver(config(layout, ctx=100))
    driver.add(1, "hello", ignore_eos=True, max_tokens=10_000)
    assert 95 == driver.run().finish.completion_tokens


@both
def test_a_prompt_that_leaves_room_for_one_token_gets_one(layout: str) -> None:
    """The longest prompt there can be."""
    driver = Driver(config(layout, ctx=100, cells=100 if layout == "unified" else 900))
    driver.add(1, "x" * 99, ignore_eos=True)
    assert (1, "length") == (driver.run().finish.completion_tokens, driver.answers[1, 0].finish.reason)
    assert_clean(driver)


@both
@pytest.mark.parametrize("length", [100, 101, 5000])
def test_a_prompt_that_leaves_no_room_is_refused_with_the_counts(layout: str, length: int) -> None:
    """Not truncated, and not left waiting for ever."""
    driver = Driver(config(layout, ctx=100))
    with pytest.raises(ContextLengthExceeded, match=f"{length}.*100"):
        driver.add(1, "x" * length)
    assert_clean(driver)


def test_an_empty_prompt_is_refused() -> None:
    """There would be no logits to begin with."""
    with pytest.raises(InvalidRequest) as error:
        Driver(config()).add(1, "")
    assert "prompt" == error.value.param


@pytest.mark.parametrize("token", [-1, VOCAB_SIZE, 2**31, -(2**31)])
def test_a_token_that_the_vocabulary_lacks_is_refused(token: int) -> None:
    """llama.cpp would abort the process."""
    with pytest.raises(InvalidRequest, match=f"{token}.*{VOCAB_SIZE}"):
        Driver(config()).add(1, [1, 2, token, 3])


@pytest.mark.parametrize("token", [-1, VOCAB_SIZE, 999_999])
def test_a_bias_for_a_token_that_the_vocabulary_lacks_is_refused(token: int) -> None:
    """Before anything is computed, and not in the middle of an answer."""
    driver = Driver(config())
    with pytest.raises(InvalidRequest, match=f"{token}.*{VOCAB_SIZE}") as error:
        driver.add(1, "hello", logit_bias={97: 1.0, token: 1.0})
    assert "logit_bias" == error.value.param
    assert_clean(driver)


@both
def test_an_end_token_ends_an_answer_and_is_no_part_of_it(layout: str) -> None:
    """The reason is "stop", and no stop text was met."""
    driver = Driver(config(layout), length=5)
    driver.add(1, "hello")
    answer = driver.run()
    assert ("stop", None) == (answer.finish.reason, answer.finish.stop)
    assert END not in answer.tokens
    assert len(answer.tokens) == answer.finish.completion_tokens
    assert plain("hello", seed=1001, length=5) == answer.text


@both
def test_ignore_eos_goes_on_after_an_end_token(layout: str) -> None:
    """For measurements: the answer has as many tokens as were asked for, end tokens among them."""
    driver = Driver(config(layout), length=5)
    driver.add(1, "hello", ignore_eos=True, max_tokens=60)
    answer = driver.run()
    assert (60, "length") == (answer.finish.completion_tokens, answer.finish.reason)
    assert END in answer.tokens
    assert plain("hello", seed=1001, length=5, ignore_eos=True, max_tokens=60) == answer.text


@both
def test_a_stop_text_ends_an_answer(layout: str) -> None:
    """It is named, cut off, and the answer up to it is what it would have been."""
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
    """Whatever ends the answer."""
    whole = plain("hello", seed=1001, ignore_eos=True, max_tokens=20)
    driver = Driver(config(layout))
    driver.add(1, "hello", ignore_eos=True, max_tokens=20, stop=(whole[-3:] + "!",))
    answer = driver.run()
    assert (whole, "length", None) == (answer.text, answer.finish.reason, answer.finish.stop)


@both
@pytest.mark.parametrize("k", [0, 3])
def test_each_token_has_its_logprob(layout: str, k: int) -> None:
    """As many entries as tokens, for each the k likeliest beside it, best first."""
    driver = Driver(config(layout))
    driver.add(1, "hello", n=2, ignore_eos=True, max_tokens=30, logprobs=k)
    driver.run()
    for answer in driver.answers.values():
        assert answer.tokens == [entry.chosen.token for entry in answer.logprobs]
        for entry in answer.logprobs:
            assert FakeVocab().piece(entry.chosen.token) == entry.chosen.piece
            found = [t.logprob for t in entry.top]
            assert k == len(found)
            assert sorted(found, reverse=True) == found


@both
def test_logprobs_are_of_the_raw_logits(layout: str) -> None:
    """Before penalties, biases, temperature and truncation."""
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
    """They are not computed for nothing."""
    driver = Driver(config(layout))
    driver.add(1, "hello", max_tokens=5)
    while driver.engine.has_work:
        assert all(delta.logprobs is None for delta in driver.step())


@both
def test_the_logprobs_of_an_answer_spell_its_text(layout: str) -> None:
    """Those of a stop text are not among them, though it spans tokens."""
    whole = plain("hello", seed=1001, ignore_eos=True, max_tokens=60)
    driver = Driver(config(layout))
    driver.add(1, "hello", ignore_eos=True, max_tokens=60, stop=(whole[17:20],), logprobs=0)
    answer = driver.run()
    assert answer.text == b"".join(e.chosen.piece for e in answer.logprobs).decode()


@both
def test_every_answer_ends_exactly_once_and_says_what_it_cost(layout: str) -> None:
    """Through a crowd of requests of all kinds, some of them cancelled."""
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
    """Waiting, reading and writing, in milliseconds."""
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


@both
def test_a_failed_decode_is_tried_again(layout: str) -> None:
    """Nobody notices one that works the second or third time."""
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
    """After retries; those that waited, and those that come later, are answered."""
    backend = Failing(config(layout), script=(OK, *(FAILED,) * (Engine.RETRIES + 1)))
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
    """One error ends the whole request, its waiting answers included."""
    driver = Driver(config(layout, parallel=2), Failing(config(layout), poison=ord("!")))
    driver.add(1, "poison!" * 10, n=4)
    driver.run()
    assert {1: "decode_failed"} == driver.failed
    assert [0, 0, 0, 0] == [len(a.finishes) for a in driver.answers.values()]
    assert_clean(driver)


@both
def test_what_a_failed_request_computed_is_not_trusted_again(layout: str) -> None:
    """Its cells may be broken: the next with the same prompt computes them afresh."""
    backend = Failing(config(layout), script=(OK, *(FAILED,) * (Engine.RETRIES + 1)))
    driver = Driver(config(layout), backend)
    driver.add(1, SYSTEM)
    driver.run()
    driver.add(2, SYSTEM)
    driver.run()
    assert 0 == driver.answers[2, 0].finish.cached_tokens
    assert plain(SYSTEM, seed=1002) == driver.answers[2, 0].text


@both
def test_when_the_backend_has_no_space_the_youngest_waits(layout: str) -> None:
    """Nobody fails, and nothing changes but the time."""
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
    """A request alone in the cache that still does not fit."""
    backend = Failing(config(layout), script=(NO_SPACE,) * 10)
    driver = Driver(config(layout), backend)
    driver.add(1, "hello")
    driver.run(limit=20)
    assert {1: "decode_failed"} == driver.failed
    assert_clean(driver)


@both
def test_an_abort_is_no_failure(layout: str) -> None:
    """However often: those that shared the batch with a cancelled prompt are not to blame."""
    driver = Driver(config(layout), Failing(config(layout), script=(DecodeStatus.ABORTED,) * 50))
    driver.add(1, "hello", temperature=0.8)
    driver.run()
    assert plain("hello", seed=1001, temperature=0.8) == driver.answers[1, 0].text


class Watched(FakeBackend):
    """Lets a test look in while a batch is computed."""

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
    """The backend never runs out of a pool, not even one that has a few cells more than asked for."""
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
    """So a cancellation need not wait for a long chunk."""
    backend = Watched(config(layout))
    driver = backend.driver = Driver(config(layout), backend)
    driver.add(1, SYSTEM)
    backend.abort_for = 1
    driver.step()
    assert [DecodeStatus.ABORTED] == backend.statuses
    driver.cancel(1)
    assert_clean(driver)


@both
def test_abort_prefill_leaves_other_decodes_alone(layout: str) -> None:
    """Those of a request that decodes already, or is not in the batch."""
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
    """The request it was for may have just ended."""
    driver = Driver(config(layout))
    driver.add(1, "hello", temperature=0.8)
    while driver.engine.has_work:
        driver.backend.abort()
        driver.step()
    assert plain("hello", seed=1001, temperature=0.8) == driver.answers[1, 0].text


def test_with_streams_running_answers_are_kept_neighbours() -> None:
    """llama.cpp computes them together only then, whoever has ended or been cancelled in between."""
    seen: list[list[int]] = []

    class Recording(FakeBackend):
        def decode(self, batch: Batch) -> DecodeStatus:
            seen.append(sorted(set(batch.sequences[: batch.size].tolist())))
            return super().decode(batch)

    driver = Driver(config("streams"), Recording(config("streams")))
    for id in range(8):
        driver.add(id, f"request {id}", max_tokens=10 + 7 * (id % 4), ignore_eos=True)
    for _ in range(5):
        driver.step()
    driver.cancel(2)
    driver.run()
    assert [] == [ids for ids in seen if ids[-1] - ids[0] + 1 != len(ids)]
    assert min(map(len, seen)) < 4


@both
def test_a_step_without_work_does_nothing(layout: str) -> None:
    """Idle is idle."""
    backend = Failing(config(layout))
    driver = Driver(config(layout), backend)
    assert [] == driver.step()
    assert 0 == backend.decodes
    assert not driver.engine.has_work


@both
def test_without_a_seed_each_request_draws_its_own(layout: str) -> None:
    """The worker picks one."""
    driver = Driver(config(layout))
    for id in range(6):
        driver.add(id, "hello", seed=None, temperature=2.0, max_tokens=30, ignore_eos=True)
    driver.run()
    assert 6 == len(set(driver.texts.values()))


@both
def test_stats_count_what_was_done(layout: str) -> None:
    """Gauges of the moment, totals since the start."""
    driver = Driver(config(layout, parallel=1))
    driver.add(1, "hello", max_tokens=10, ignore_eos=True)
    driver.add(2, "world", max_tokens=10, ignore_eos=True)
    driver.step()
    assert (1, 1, 5) == ((s := driver.engine.stats()).running, s.waiting, s.cells_used)
    driver.run()
    stats = driver.engine.stats()
    assert (0, 0, 0) == (stats.running, stats.waiting, stats.cells_used)
    assert (10, 20, 0) == (
        stats.prompt_tokens_total,
        stats.completion_tokens_total,
        stats.cached_tokens_total,
    )
    assert stats.steps_total == 20
    assert stats.cells_cached > 0


@both
def test_control_tokens_have_no_text(layout: str) -> None:
    """Produced where ignore_eos lets them, they don't show."""
    driver = Driver(config(layout))
    driver.add(1, "hello", max_tokens=3, ignore_eos=True, logit_bias={BOS: 100.0})
    answer = driver.run()
    assert ("", [BOS] * 3) == (answer.text, answer.tokens)


def test_the_fake_vocabulary_makes_a_round_trip() -> None:
    """With control tokens recognised where they are trusted, and spelt where not."""
    vocab, text = FakeVocab(), f"é{CONTROL[BOS]}x{CONTROL[END]}"
    trusted, untrusted = vocab.tokenize(text, special=True), vocab.tokenize(text, special=False)
    assert [*"é".encode(), BOS, ord("x"), END] == trusted
    assert list(text.encode()) == untrusted
    assert text.encode() == vocab.detokenize(trusted) == vocab.detokenize(untrusted)


def test_the_fake_backend_refuses_what_makes_llama_cpp_abort() -> None:
    """Positions with a gap, sequences scattered over a batch, parts of streams copied."""
    backend, batch = FakeBackend(config("streams")), Batch(8)
    batch.add(0, 1, [1], output=True)
    with pytest.raises(ValueError):
        backend.decode(batch)
    batch.clear()
    for sequence, position in ((0, 0), (1, 0), (0, 1)):
        batch.add(sequence, position, [1], output=False)
    with pytest.raises(ValueError):
        backend.decode(batch)
    with pytest.raises(ValueError):
        backend.copy(0, 1, 5)


def test_a_batch_refuses_a_token_too_many() -> None:
    """llama.cpp would write past its end."""
    batch = Batch(4)
    assert 2 == batch.add(0, 0, [1, 2, 3], output=True)
    with pytest.raises(ValueError):
        batch.add(1, 0, [1, 2], output=True)
    assert 3 == batch.size
