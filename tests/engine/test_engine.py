from __future__ import annotations

from typing import Any

import pytest

from edgeinfer.engine.backend import Batch, DecodeStatus
from edgeinfer.engine.fake import BOS, CONTROL, END, FakeBackend, FakeVocab
from tests.support.engine import (
    ALONE,
    LAYOUTS,
    PROMPTS,
    SYSTEM,
    Driver,
    Failing,
    assert_clean,
    config,
    encode,
    plain,
)

both = pytest.mark.parametrize("layout", LAYOUTS)
OK = DecodeStatus.OK


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


@both
def test_answers_one_by_one_are_those_of_a_plain_loop(layout: str) -> None:
    """The engine changes the speed of an answer, never its words."""
    assert ALONE == answers(layout, one_by_one=True)


@both
def test_answers_in_a_batch_of_8_are_the_same(layout: str) -> None:
    """Overlapping prompts share prefixes without changing answers."""
    assert ALONE == answers(layout)


@both
@pytest.mark.parametrize("parallel", [1, 3])
def test_answers_that_had_to_wait_are_the_same(layout: str, parallel: int) -> None:
    """There are fewer places than requests."""
    assert ALONE == answers(layout, parallel=parallel)


@both
@pytest.mark.parametrize("batch", [8, 13, 512])
def test_answers_to_prompts_in_chunks_are_the_same(layout: str, batch: int) -> None:
    """The batch size changes no answer."""
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
    """Cells of an aborted decode are dropped, and the work is repeated."""
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
    """Each answer draws from its own stream of the request's seed."""
    driver = Driver(config(layout))
    driver.add(1, SYSTEM, n=3, temperature=1.0, seed=5)
    driver.run()
    expected = [plain(SYSTEM, index=i, seed=5, temperature=1.0) for i in range(3)]
    assert expected == list(driver.texts.values())
    assert 3 == len(set(expected))


@both
def test_n_answers_compute_their_prompt_once(layout: str) -> None:
    """The other answers wait for the first one's prefix and compute one token each."""
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
    """Eight requests share one system prompt."""
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
    """The next turn of a conversation reuses prompt and answer."""
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
    """A request can be cancelled at any moment."""
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
    """Cancelling an unknown request does nothing, because it may have just ended."""
    driver = Driver(config(layout))
    driver.cancel(7)
    driver.add(1, "hello", max_tokens=2)
    driver.run()
    driver.engine.cancel(1)
    assert_clean(driver)


@both
def test_others_do_not_notice_a_cancellation(layout: str) -> None:
    """Requests that share a cancelled one's prefix are not affected."""
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


def test_with_streams_running_answers_are_kept_neighbours() -> None:
    """Running slots stay neighbours, because llama.cpp computes only those together."""
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
    """A step without work computes nothing."""
    backend = Failing(config(layout))
    driver = Driver(config(layout), backend)
    assert [] == driver.step()
    assert 0 == backend.decodes
    assert not driver.engine.has_work


@both
def test_without_a_seed_each_request_draws_its_own(layout: str) -> None:
    """Without a seed, the engine picks one."""
    driver = Driver(config(layout))
    for id in range(6):
        driver.add(id, "hello", seed=None, temperature=2.0, max_tokens=30, ignore_eos=True)
    driver.run()
    assert 6 == len(set(driver.texts.values()))


@both
def test_stats_count_what_was_done(layout: str) -> None:
    """Stats have gauges of the moment and totals since the start."""
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
    """Control tokens that ignore_eos lets through have no text."""
    driver = Driver(config(layout))
    driver.add(1, "hello", max_tokens=3, ignore_eos=True, logit_bias={BOS: 100.0})
    answer = driver.run()
    assert ("", [BOS] * 3) == (answer.text, answer.tokens)


def test_the_fake_vocabulary_makes_a_round_trip() -> None:
    """The fake recognises control tokens only where they are trusted."""
    vocab, text = FakeVocab(), f"é{CONTROL[BOS]}x{CONTROL[END]}"
    trusted, untrusted = vocab.tokenize(text, special=True), vocab.tokenize(text, special=False)
    assert [*"é".encode(), BOS, ord("x"), END] == trusted
    assert list(text.encode()) == untrusted
    assert text.encode() == vocab.detokenize(trusted) == vocab.detokenize(untrusted)


def test_the_fake_backend_refuses_what_makes_llama_cpp_abort() -> None:
    """The fake raises for gaps in positions, scattered sequences and partial copies of streams."""
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
    """A batch refuses more tokens than it holds; llama.cpp would write past its end."""
    batch = Batch(4)
    assert 2 == batch.add(0, 0, [1, 2, 3], output=True)
    with pytest.raises(ValueError):
        batch.add(1, 0, [1, 2], output=True)
    assert 3 == batch.size
