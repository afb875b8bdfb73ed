"""The engine reports how much of a prompt it has computed, to those who ask for it."""

from __future__ import annotations

from itertools import pairwise

import pytest

from edgeinfer.engine.config import EngineConfig
from edgeinfer.inference.output import Delta, PromptProgress
from tests.support.engine import Driver, config

PROMPT = "x" * 100


def small_batches() -> EngineConfig:
    return config(ctx=256, batch=16)


def progress_of(driver: Driver, id: int) -> list[PromptProgress]:
    """All reports of a request, which must come before its first token."""
    deltas: list[Delta] = []
    while driver.engine.has_work:
        deltas += [delta for delta in driver.step() if delta.id == id]
    reports = [delta.progress for delta in deltas if delta.progress]
    for delta in deltas[: len(reports)]:
        assert delta.progress
        assert (delta.text, delta.tokens, delta.finish, delta.index) == ("", [], None, 0)
    return reports


def test_each_step_of_a_prompt_is_reported() -> None:
    """Up to the whole of it."""
    driver = Driver(small_batches())
    driver.add(1, PROMPT, max_tokens=4, prompt_progress=True)
    reports = progress_of(driver, 1)
    assert len(reports) > 3
    assert {(100, 0)} == {(report.total, report.cached) for report in reports}
    assert all(before.computed < after.computed for before, after in pairwise(reports))
    assert all(before.ms <= after.ms for before, after in pairwise(reports))
    assert 100 == reports[-1].computed


def test_nobody_else_gets_reports() -> None:
    """Not even beside one who does."""
    driver = Driver(small_batches())
    driver.add(1, PROMPT, max_tokens=4, prompt_progress=True)
    driver.add(2, "y" * 100, max_tokens=4)
    assert [] == progress_of(driver, 2)


def test_what_is_in_the_cache_is_reported_as_such() -> None:
    """It counts as computed from the beginning."""
    driver = Driver(small_batches())
    driver.add(1, PROMPT, max_tokens=1)
    driver.run()
    driver.add(2, PROMPT + "yz" * 20, max_tokens=1, prompt_progress=True)
    first, *_, last = progress_of(driver, 2)
    assert 100 <= first.cached < first.computed
    assert last.computed == last.total == 140


@pytest.mark.parametrize("n", [1, 3])
def test_answers_are_the_same_with_reports(n: int) -> None:
    """Several answers to one prompt share its reports."""
    texts = []
    for asked in (True, False):
        driver = Driver(small_batches())
        driver.add(1, PROMPT, n, max_tokens=8, prompt_progress=asked)
        driver.run()
        texts.append(driver.texts)
    assert texts[0] == texts[1]
