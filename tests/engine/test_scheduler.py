from __future__ import annotations

import pytest

from edgeinfer.engine.scheduler import ScheduledChunk, Scheduler
from edgeinfer.engine.sequence import Sequence
from tests.support.engine import LAYOUTS, Driver, config, decode_alone

both = pytest.mark.parametrize("layout", LAYOUTS)
LONG = "You are a helpful assistant on a small machine. " * 4


def running(driver: Driver) -> list[int]:
    return [s.request.id for s in driver.engine.scheduler.running]


def waiting(driver: Driver) -> list[int]:
    return [s.request.id for s in driver.engine.scheduler.waiting]


def admit(driver: Driver) -> None:
    driver.engine.scheduler.admit(0.0)


def schedule(driver: Driver, batch: int = 64, chunk: int = 64) -> list[ScheduledChunk]:
    return driver.engine.scheduler.schedule(batch, chunk)


def compute(driver: Driver, sequence: Sequence) -> None:
    """Compute what a sequence lacks and add a token, without a step of the engine."""
    assert sequence.slot
    tokens = sequence.tokens[sequence.num_computed :]
    assert driver.engine.cache.reserve(sequence.slot, len(tokens))
    decode_alone(driver.backend, sequence.slot.id, tokens)
    driver.engine.cache.commit(sequence.slot, tokens)
    sequence.tokens.append(97)


def sizes(work: list[ScheduledChunk]) -> list[tuple[int, int]]:
    return [(w.sequence.request.id, w.num_tokens) for w in work]


@both
def test_requests_are_admitted_in_order_of_arrival(layout: str) -> None:
    """Sequences are admitted in order, as many as may run."""
    driver = Driver(config(layout, parallel=2))
    for id in (3, 1, 2):
        driver.add(id, f"request {id}")
    admit(driver)
    assert [3, 1] == running(driver)
    assert [2] == waiting(driver)


@both
def test_the_end_of_one_lets_the_next_in(layout: str) -> None:
    """A free place is filled at once."""
    driver = Driver(config(layout, parallel=1))
    driver.add(1, "one", max_tokens=1)
    driver.add(2, "two", max_tokens=1)
    driver.step()
    driver.step()
    assert [1, 1] == [len(driver.answers[id, 0].finishes) for id in (1, 2)]


def test_a_small_request_does_not_overtake_one_that_waits_for_room() -> None:
    """A large request is not overtaken; small ones would starve it."""
    driver = Driver(config("unified", cells=300, parallel=4))
    driver.add(1, "x" * 150, ignore_eos=True)
    driver.add(2, "y" * 200)
    driver.add(3, "z")
    for _ in range(5):
        driver.step()
    assert ([1], [2, 3]) == (running(driver), waiting(driver))


@both
def test_a_request_waits_for_a_prefix_that_another_computes(layout: str) -> None:
    """A request waits for a prefix that another one is computing."""
    driver = Driver(config(layout))
    driver.add(1, LONG + "one")
    driver.add(2, LONG + "two")
    admit(driver)
    assert ([1], [2]) == (running(driver), waiting(driver))


@both
def test_one_that_shares_nothing_passes_those_that_wait_for_a_prefix(layout: str) -> None:
    """Requests that wait for a prefix do not block others."""
    driver = Driver(config(layout))
    driver.add(1, LONG + "one")
    driver.add(2, LONG + "two")
    driver.add(3, "something else")
    admit(driver)
    assert ([1, 3], [2]) == (running(driver), waiting(driver))


@both
def test_a_short_common_beginning_is_not_waited_for(layout: str) -> None:
    """A short common prefix is not worth waiting for."""
    driver = Driver(config(layout))
    driver.add(1, "You are a " + "x" * 100)
    driver.add(2, "You are a " + "y" * 100)
    admit(driver)
    assert [1, 2] == running(driver)


@both
def test_a_prefix_that_is_there_already_is_not_waited_for(layout: str) -> None:
    """Only a prefix that is still to be computed is worth waiting for."""
    driver = Driver(config(layout))
    driver.add(0, LONG, max_tokens=1)
    driver.run()
    driver.add(1, LONG + "one")
    driver.add(2, LONG + "two")
    admit(driver)
    assert [1, 2] == running(driver)


@both
def test_when_the_one_that_computes_a_prefix_is_cancelled_another_computes_it(layout: str) -> None:
    """Every waiting request is admitted in the end."""
    driver = Driver(config(layout, batch=16))
    driver.add(1, LONG)
    driver.add(2, LONG)
    driver.step()
    driver.cancel(1)
    driver.run()
    assert 1 == len(driver.answers[2, 0].finishes)


@both
def test_a_step_takes_every_running_answer_and_then_a_chunk_of_prompt(layout: str) -> None:
    """Every decoding sequence is in each step, beside a long prompt's chunks."""
    driver = Driver(config(layout))
    for id in range(3):
        driver.add(id, f"{id} is short", ignore_eos=True)
    driver.step()
    driver.add(9, "long " * 40)
    admit(driver)
    assert [(0, 1), (1, 1), (2, 1), (9, 40)] == sizes(schedule(driver, chunk=40))


@both
def test_a_step_is_never_longer_than_a_batch(layout: str) -> None:
    """A step never exceeds the batch, because llama.cpp would abort the process."""
    driver = Driver(config(layout))
    for id in range(6):
        driver.add(id, f"{id}" * 30, ignore_eos=True)
    admit(driver)
    assert 48 == sum(n for _, n in sizes(schedule(driver, batch=48, chunk=100)))


@both
def test_a_chunk_is_exceeded_only_to_end_a_prompt(layout: str) -> None:
    """A short remainder of a prompt is not split; a long prompt is."""
    driver = Driver(config(layout))
    driver.add(1, "1" * 30)
    driver.add(2, "2" * 200)
    admit(driver)
    assert [(1, 30)] == sizes(schedule(driver, chunk=20))
    assert [(1, 30), (2, 10)] == sizes(schedule(driver, chunk=40))


@both
def test_only_the_last_chunk_of_a_prompt_wants_an_output(layout: str) -> None:
    """Only the last chunk of a prompt has an output."""
    driver = Driver(config(layout))
    driver.add(1, "x" * 100)
    admit(driver)
    assert [False] == [w.output for w in schedule(driver, chunk=99)]
    assert [True] == [w.output for w in schedule(driver, batch=100, chunk=100)]


@both
def test_the_prompt_nearest_its_end_comes_first(layout: str) -> None:
    """The prompt nearest its end comes first."""
    driver = Driver(config(layout))
    driver.add(1, "a" * 200)
    driver.add(2, "b" * 20)
    admit(driver)
    assert [(2, 20), (1, 30)] == sizes(schedule(driver, chunk=50))


@both
def test_a_long_prompt_is_not_starved_by_short_ones(layout: str) -> None:
    """The oldest prompt gets every fourth chunk, however many short ones arrive."""
    driver = Driver(config(layout, parallel=4, batch=32))
    driver.add(0, "long" * 50, max_tokens=1)
    for id in range(1, 400):
        if driver.answers[0, 0].finishes:
            break
        driver.add(id, f"{id:03}" * 10, max_tokens=1)
        driver.step()
    assert 1 == len(driver.answers[0, 0].finishes)
    assert driver.engine.scheduler.waiting


def test_when_cells_run_out_the_youngest_goes_back_to_the_head_of_the_queue() -> None:
    """The youngest sequence is preempted."""
    driver = Driver(config("unified", ctx=128, cells=160, parallel=3))
    driver.add(1, "a" * 60, ignore_eos=True)
    driver.add(2, "b" * 30, ignore_eos=True)
    driver.add(3, "c" * 100)
    for _ in range(200):
        driver.step()
        if driver.engine.stats().preemptions_total:
            break
    assert ([1], [2, 3]) == (running(driver), waiting(driver))


def test_one_that_is_preempted_for_another_in_the_same_round_is_not_scheduled() -> None:
    """A preempted sequence is not in the step, whether it was scheduled before or not."""
    driver = Driver(config("unified", ctx=120, cells=120, parallel=3))
    scheduler = driver.engine.scheduler
    driver.add(1, "D" * 40)
    admit(driver)
    compute(driver, scheduler.running[0])
    driver.add(2, "S" * 20)
    admit(driver)
    driver.add(3, "D" * 39 + "x")
    admit(driver)
    compute(driver, scheduler.running[-1])
    for _ in range(61):
        compute(driver, scheduler.running[0])
    assert [1, 2, 3] == running(driver)
    assert {1} == {id for id, _ in sizes(schedule(driver))}
    assert ([1], [2, 3]) == (running(driver), waiting(driver))


@both
def test_what_is_scheduled_is_running_and_has_room(layout: str) -> None:
    """In a pool that is too small, each running sequence always has a slot and cells."""
    driver = Driver(config(layout, ctx=96, cells=224, parallel=4, batch=32), length=1000)
    for id in range(10):
        driver.add(id, f"{id}" * (10 + 7 * id))
    for _ in range(300):
        admit(driver)
        for work in schedule(driver, 32, 32):
            slot = work.sequence.slot
            assert slot is not None
            assert slot.running
            assert len(slot.tokens) + work.num_tokens <= 96
        driver.step()


def test_it_decides_without_a_backend_of_its_own() -> None:
    """The scheduler needs no I/O, clock or logging, only the cache."""
    driver = Driver(config())
    scheduler = Scheduler(driver.engine.cache, 2)
    assert not scheduler.has_work
    scheduler.admit(0.0)
    assert [] == scheduler.schedule(64, 64)
