"""Models that are smaller or larger than the usual choice, for machines that have less or more."""

from __future__ import annotations

import pytest

from edgeinfer.hardware import HardwareProfile, Memory, detect
from edgeinfer.plan import ModelChoice, choose
from edgeinfer.plan.available_options import model_options
from edgeinfer.plan.larger_models import GOOD_SPEED, larger_models
from edgeinfer.settings import Settings
from tests.support.machines import GB, machine
from tests.support.paths import TREES

TINY = "granite-4.0-350m"
OPTIONS = model_options()


def chosen(profile: HardwareProfile) -> ModelChoice:
    return choose(profile, OPTIONS, Settings())


def board(megabytes: int, available: int) -> HardwareProfile:
    return machine(memory=Memory(megabytes * 10**6, available * 10**6, None))


@pytest.mark.parametrize(
    ("megabytes", "available", "model"),
    [
        (460, 330, "edgeinfer-nano"),
        (905, 660, TINY),
        (950, 760, TINY),
        (1000, 700, TINY),
        (1950, 1500, "qwen3-0.6b"),
    ],
)
def test_a_board_with_1_gb_gets_a_model_for_it(megabytes: int, available: int, model: str) -> None:
    """It lies between the bundled model and one of 0.6 billion parameters."""
    choice = chosen(board(megabytes, available))
    assert model == choice.option.model
    assert choice.plan.fits


def test_the_smallest_model_is_not_taken_for_its_speed() -> None:
    """Where 0.6 billion parameters fit they are taken, however slow: less understands too little."""
    choice = chosen(detect(TREES / "orangepi-zero3-4gb"))
    assert "qwen3-0.6b" == choice.option.model
    assert (choice.plan.speed.decode or 0) < 5
    named = choose(detect(TREES / "pi5-8gb"), model_options(TINY), Settings(), model=TINY)
    assert TINY == named.option.model


def suggestions(record: str) -> dict[str, ModelChoice]:
    profile = detect(TREES / record)
    larger = larger_models(chosen(profile), profile, Settings())
    return {choice.option.model: choice for choice in larger}


@pytest.mark.parametrize(
    ("record", "largest", "count"),
    [
        ("strix-halo-128gb", "qwen3-30b-a3b-instruct-2507", 4),
        ("rtx-3060-desktop", "qwen3-30b-a3b-instruct-2507", 4),
        ("rtx-4070-laptop-8gb", None, 4),
        ("m2-mac-16gb", None, 4),
        ("pi5-8gb", None, 0),
        ("pi4-4gb", None, 0),
    ],
)
def test_larger_models_are_suggested_where_they_are_fast(
    record: str, largest: str | None, count: int
) -> None:
    """Each fits, is at least three times as fast as one reads, and the largest comes first."""
    larger = suggestions(record)
    assert count == len(larger)
    assert largest is None or largest == next(iter(larger))
    for choice in larger.values():
        assert choice.plan.fits
        assert (choice.plan.speed.decode or 0) >= GOOD_SPEED
        assert choice.option.size > 1.2 * GB


def test_a_mixture_of_experts_is_as_fast_as_the_experts_that_are_used() -> None:
    """30 billion parameters, of which 3 are read for a token, on a Ryzen AI Max."""
    speed = suggestions("strix-halo-128gb")["qwen3-30b-a3b-instruct-2507"].plan.speed.decode
    dense = suggestions("strix-halo-128gb")["qwen3-14b"].plan.speed.decode
    assert speed
    assert dense
    assert speed > 2 * dense
