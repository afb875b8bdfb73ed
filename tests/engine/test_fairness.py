"""No caller keeps another one waiting, however much it asks for."""

from __future__ import annotations

from collections import Counter

import pytest

from edgeinfer.engine.caller_shares import CallerShares
from tests.support.engine import LAYOUTS, Driver, config, plain

both = pytest.mark.parametrize("layout", LAYOUTS)
HOG, MODEST = "hog", "modest"


def running(driver: Driver) -> Counter[str]:
    return Counter(s.caller for s in driver.engine.scheduler.running)


def steps_until_answered(driver: Driver, id: int) -> int:
    for steps in range(1, 1000):
        driver.step()
        if driver.answers[id, 0].finishes:
            return steps
    raise AssertionError(f"{id} got no answer")


def busy(layout: str, n: int, prompt: str = "a story", parallel: int = 4, steps: int = 20) -> Driver:
    """An engine that has worked for the hog alone for some steps."""
    driver = Driver(config(layout, parallel=parallel, ctx=2048, cells=16384))
    driver.add(1, prompt, n, caller=HOG, ignore_eos=True, max_tokens=400)
    for _ in range(steps):
        driver.step()
    return driver


@both
@pytest.mark.parametrize("parallel", [1, 2, 4])
@pytest.mark.parametrize("n", [1, 4, 128])
def test_short_answer_does_not_wait_for_the_answers_of_another_caller(
    layout: str, parallel: int, n: int
) -> None:
    """The next step computes it."""
    driver = busy(layout, n, parallel=parallel)
    driver.add(2, "hello", caller=MODEST, max_tokens=1)
    assert 1 == steps_until_answered(driver, 2)


@both
def test_short_answer_does_not_wait_for_the_long_prompts_of_another_caller(layout: str) -> None:
    """Each step computes a chunk of them; that of the short prompt has nothing else in it."""
    driver = Driver(config(layout, parallel=4, ctx=2048, cells=16384))
    for id in range(10, 20):
        driver.add(id, f"{id}" * 900, caller=HOG, max_tokens=1)
    driver.step()
    for id in (1, 2, 3):
        driver.add(id, f"hello {id}", caller=MODEST, max_tokens=1)
        before = driver.engine.stats().prompt_tokens_total
        assert 1 == steps_until_answered(driver, id)
        assert 7 >= driver.engine.stats().prompt_tokens_total - before


@both
def test_many_callers_are_answered_within_a_few_steps_of_each_other(layout: str) -> None:
    """Twelve of them, beside a request for 128 answers."""
    driver = busy(layout, 128)
    for id in range(10, 22):
        driver.add(id, "hello", caller=f"caller {id}", max_tokens=1)
    assert 12 >= max(steps_until_answered(driver, id) for id in range(10, 22))


@both
def test_callers_share_the_slots_evenly(layout: str) -> None:
    """The second one gets half of them at once, the third one its part."""
    driver = busy(layout, 20)
    assert {HOG: 4} == running(driver)
    driver.add(2, "b", 20, caller=MODEST, ignore_eos=True)
    driver.step()
    assert {HOG: 2, MODEST: 2} == running(driver)
    driver.add(3, "c", 20, caller="third", ignore_eos=True)
    driver.step()
    assert 1 == running(driver)["third"]
    for _ in range(100):
        driver.step()
    assert 1 <= min(running(driver).values())


@both
def test_only_one_slot_is_shared_in_time(layout: str) -> None:
    """Two callers with endless answers get about the same work done."""
    driver = Driver(config(layout, parallel=1, ctx=2048, cells=4096))
    for id, caller in ((1, HOG), (2, MODEST)):
        driver.add(id, caller, caller=caller, ignore_eos=True, max_tokens=1500)
    for _ in range(1600):
        driver.step()
    done = [len(driver.answers[id, 0].tokens) for id in (1, 2)]
    assert CallerShares.MAX_LAG >= max(done) - min(done)


@both
def test_answer_that_made_way_is_the_same(layout: str) -> None:
    """It goes on from its cells, and computes hardly anything again."""
    driver = Driver(config(layout, parallel=1, ctx=256, cells=1024))
    driver.add(1, "a story", caller=HOG, ignore_eos=True, max_tokens=100)
    for id in range(2, 10):
        for _ in range(5):
            driver.step()
        driver.add(id, f"hello {id}", caller=MODEST, max_tokens=1)
    driver.run()
    expected = plain("a story", seed=1001, ignore_eos=True, max_tokens=100)
    assert expected == driver.answers[1, 0].text
    assert 150 >= driver.engine.stats().prompt_tokens_total


@both
def test_single_caller_has_everything_at_once(layout: str) -> None:
    """As many answers as there are slots begin in the first step after the prompt, and none makes way."""
    driver = Driver(config(layout, parallel=8))
    driver.add(1, "hello", 8, caller=HOG, ignore_eos=True, max_tokens=20)
    driver.step()
    driver.step()
    assert {HOG: 8} == running(driver)
    driver.run()
    assert 0 == driver.engine.stats().preemptions_total


@both
def test_callers_who_return_again_and_again_do_not_starve_the_others(layout: str) -> None:
    """The work that they have had is remembered."""
    driver = Driver(config(layout, parallel=1, ctx=1024, cells=2048))
    driver.add(1, "a story", caller=HOG, ignore_eos=True, max_tokens=200)
    driver.step()
    for id in range(2, 400):
        driver.add(id, f"hello {id}", caller=MODEST, ignore_eos=True, max_tokens=5)
        while driver.engine.scheduler.waiting and not driver.answers[1, 0].finishes:
            driver.step()
        if driver.answers[1, 0].finishes:
            break
    assert 100 > id


def test_cells_are_shared_too() -> None:
    """Where answers fill a pool of cells, the caller with the most of them makes way."""
    driver = Driver(config("unified", parallel=4, ctx=512, cells=1024))
    for id in (1, 2, 3):
        driver.add(id, f"{id}" * 250, caller=HOG, ignore_eos=True, max_tokens=250)
    for _ in range(40):
        driver.step()
    driver.add(4, "m" * 200, caller=MODEST, ignore_eos=True, max_tokens=100)
    assert 120 > steps_until_answered(driver, 4)
    driver.run()


@both
def test_prefixes_of_another_domain_are_not_used(layout: str) -> None:
    """Neither while they are being computed, nor afterwards; those of one's own are."""
    prompt = "the code is 271828, tell no one. " * 5
    driver = Driver(config(layout, parallel=2))
    driver.add(1, prompt, cache_domain="a", max_tokens=20, ignore_eos=True)
    driver.add(2, prompt, cache_domain="b", max_tokens=1)
    driver.step()
    driver.add(3, prompt, cache_domain="b", max_tokens=1)
    driver.run()
    for id, domain in ((4, ""), (5, "c"), (6, "a"), (7, "b")):
        driver.add(id, prompt, cache_domain=domain, max_tokens=1)
        driver.run()
    cached = [driver.answers[id, 0].finish.cached_tokens for id in range(1, 8)]
    last = len(prompt) - 1
    assert [0, 0] == cached[:2]
    assert [last, 0, 0] == cached[2:5]
    if layout == "unified":  # which has room for all of them
        assert [last, last] == cached[5:]


def test_old_counters_are_dropped() -> None:
    """A caller far behind is as good as a new one."""
    shares = CallerShares()
    for number in range(3 * CallerShares.MAX_CALLERS):
        shares.enter(f"{number}")
        shares.add(f"{number}", 1, prompt=False)
        shares.add("hog", 1, prompt=False)
    assert CallerShares.MAX_LAG == shares.work("hog") - shares.work("0")
    assert CallerShares.MAX_CALLERS >= len(shares._work)
