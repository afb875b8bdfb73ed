"""Several models on one machine."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from edgeinfer.errors import DoesNotFit
from edgeinfer.hardware.memory import Memory
from edgeinfer.plan import MemoryEstimate, ModelChoice, Plan, plan_model
from edgeinfer.plan.calibration import Calibration, Rates
from edgeinfer.plan.memory_budget import MemoryBudget
from edgeinfer.plan.memory_estimate import DAEMON, WORKER
from edgeinfer.plan.own_memory import HeldMemory, ModelMemory
from edgeinfer.plan.several import ModelOptions, choose_several, fits_beside, plan_evicting, plan_several
from edgeinfer.settings import Settings
from tests.support.machines import CARD, GB, R1, machine, offer, r1

MB = 10**6


def loaded(model: Plan, share: float = 1.0) -> ModelMemory:
    """Return a model that has taken a share of what it was planned to take."""
    held = HeldMemory(round(model.memory.ram * share), round(model.memory.gpu * share))
    return ModelMemory(replace(model.memory, daemon=0), held)


def reason(planned: Plan, beginning: str) -> str:
    return next((why for why in planned.reasons if why.startswith(beginning)), "")


def test_each_model_is_planned_with_what_those_before_it_leave() -> None:
    """Two fit, the third does not, and a smaller one after it does."""
    one = Settings(parallel=1)
    sizes = {"a": "Q8_0", "b": "Q4_K_M", "c": "F16", "d": "Q4_0"}
    plans = plan_several({name: (r1(quant), one) for name, quant in sizes.items()}, machine(7))
    assert ["a", "b", "c", "d"] == list(plans)
    assert [True, True, False, True] == [isinstance(found, Plan) for found in plans.values()]
    refused = plans["c"]
    assert isinstance(refused, DoesNotFit)
    assert "beside 2 other models" in refused.message
    last = plans["d"]
    assert isinstance(last, Plan)
    taken = sum(found.memory.model for found in (plans["a"], plans["b"]) if isinstance(found, Plan))
    assert 7 * GB - taken - DAEMON == last.budget.available
    assert f"memory shared: 2 other models take {taken / MB:.0f} MB" == reason(last, "memory shared")


def test_every_model_has_a_worker_and_all_share_the_daemon() -> None:
    """The overhead of a worker counts for each."""
    first, second = plan_several({name: (r1(), Settings()) for name in "ab"}, machine()).values()
    assert isinstance(first, Plan)
    assert isinstance(second, Plan)
    assert (DAEMON, 0) == (first.memory.daemon, second.memory.daemon)
    assert WORKER < first.memory.worker == second.memory.worker
    assert first.memory.needed == first.memory.ram + DAEMON


def test_a_model_beside_others_gets_by_with_less() -> None:
    """It takes fewer answers at once rather than not fit."""
    alone = plan_model(r1(), machine(5), Settings())
    beside = plan_model(r1(), machine(5), Settings(), beside=[ModelMemory(MemoryEstimate(GB))])
    assert beside.fits
    assert beside.config.parallel < alone.config.parallel or beside.config.layout != alone.config.layout


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_what_a_loaded_model_has_taken_counts_once(share: float) -> None:
    """Whether it is loading, has its weights mapped, or holds all of it: the same is left."""
    other = plan_model(r1(), machine(8), Settings())
    taken = round(other.memory.ram * share)
    profile = machine(memory=Memory(16 * GB, 8 * GB - taken, None))
    found = plan_model(r1(), profile, Settings(), beside=[loaded(other, share)])
    assert 8 * GB - other.memory.ram == found.budget.available


def test_models_share_a_limit() -> None:
    """Though the machine has more; and RAM and the GPU count together."""
    settings = Settings(parallel=1, memory_limit_mb=3000)
    first, second, third = plan_several({name: (r1(), settings) for name in "abc"}, machine(14)).values()
    assert isinstance(first, Plan)
    assert isinstance(second, Plan)
    assert 3000 * MB == first.budget.limit
    assert 3000 * MB - first.memory.model == second.budget.limit
    assert isinstance(third, DoesNotFit)
    assert f"memory_limit_mb leaves {(second.budget.limit - second.memory.model) / MB:,.0f}" in third.message
    gpu = plan_model(r1(), machine(14, CARD), settings)
    assert gpu.memory.gpu > 0
    assert gpu.memory.model == gpu.memory.ram + gpu.memory.gpu <= 3000 * MB


def test_a_limit_takes_memory_from_the_kv_cache_first() -> None:
    """The model fits, for fewer answers at once."""
    found = plan_model(r1(), machine(14), Settings(memory_limit_mb=1700))
    assert found.fits
    assert found.memory.model <= 1700 * MB
    assert plan_model(r1(), machine(14), Settings()).memory.model > 1700 * MB


def test_a_model_that_is_larger_than_the_limit_is_refused() -> None:
    """It could never be loaded; by force it is."""
    with pytest.raises(DoesNotFit, match="memory_limit_mb allows 1000") as refused:
        plan_model(r1(), machine(14), Settings(memory_limit_mb=1000))
    assert "--memory-limit-mb" in str(refused.value.hint)
    forced = plan_model(r1(), machine(14), Settings(memory_limit_mb=1000, force=True))
    assert False is forced.fits
    assert "memory_limit_mb leaves 1000" in reason(forced, "memory short")


def test_no_more_models_are_unloaded_than_needed() -> None:
    """The first idle one first, a busy one never."""
    settings = Settings(parallel=1, kv_type="q8_0", layout="unified", memory_limit_mb=3000)
    one = plan_model(r1(), machine(14), settings)
    other = loaded(one)
    assert 0 == plan_evicting(r1(), machine(14), settings, idle=[other]).count
    assert 1 == plan_evicting(r1(), machine(14), settings, idle=[other, other]).count
    assert 1 == plan_evicting(r1(), machine(14), settings, idle=[other], busy=[other]).count
    assert 2 == plan_evicting(r1(), machine(14), settings, idle=[other, other], busy=[other]).count
    with pytest.raises(DoesNotFit, match="beside 2 other models"):
        plan_evicting(r1(), machine(14), settings, idle=[other], busy=[other, other])


def test_what_an_unloaded_model_holds_is_free() -> None:
    """Of RAM that is short, too."""
    settings = Settings(parallel=1)
    other = loaded(plan_model(r1(), machine(4), settings))
    found = plan_evicting(r1(), machine(2), settings, idle=[other])
    assert (1, True) == (found.count, found.plan.fits)
    assert 2 * GB + other.held.ram == found.plan.budget.available


def test_by_force_everything_idle_goes() -> None:
    """And the model is loaded whether it fits or not."""
    settings = Settings(memory_limit_mb=1000, force=True)
    other = ModelMemory(MemoryEstimate(500 * MB))
    found = plan_evicting(r1(), machine(14), settings, idle=[other])
    assert (1, False) == (found.count, found.plan.fits)


@pytest.mark.parametrize(("limit", "fits"), [(1000, True), (999, False), (None, True)])
def test_two_at_once_keep_to_the_limit(limit: int | None, fits: bool) -> None:
    """While one replaces the other."""
    running = ModelMemory(MemoryEstimate(400), HeldMemory(100))
    replacement = plan_model(r1(), machine(14), Settings())
    wanted = Plan(
        replacement.config, [], memory=MemoryEstimate(600), budget=MemoryBudget(ram=10_000, limit=limit)
    )
    assert fits is fits_beside(wanted, running)


def wanted(*quants: str, **settings: Any) -> ModelOptions:
    return ModelOptions(R1, None, [offer(R1, quant) for quant in quants], Settings(**settings))


def test_a_quantization_is_chosen_for_what_is_left() -> None:
    """The second one is coarser, the third does not fit."""
    fast = Calibration("", "", "", cpu=Rates({"": 200 * GB}))
    found = choose_several([wanted("Q8_0", "Q4_0", parallel=1) for _ in range(3)], machine(5), fast)
    assert ["Q8_0", "Q4_0"] == [choice.option.quant for choice in found if isinstance(choice, ModelChoice)]
    assert isinstance(found[2], DoesNotFit)
