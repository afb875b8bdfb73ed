"""Several models on one machine."""

from __future__ import annotations

from collections.abc import Sequence
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
from edgeinfer.plan.several import ModelOptions, choose_several, fits_beside
from edgeinfer.settings import Settings
from tests.support.machines import CARD, GB, R1, machine, offer, r1

MB = 10**6


def loaded(model: Plan, share: float = 1.0) -> ModelMemory:
    """Return a model that has taken a share of its planned memory."""
    held = HeldMemory(round(model.memory.ram * share), round(model.memory.gpu * share))
    return ModelMemory(replace(model.memory, daemon=0), held)


def reason(planned: Plan, beginning: str) -> str:
    return next((why for why in planned.reasons if why.startswith(beginning)), "")


def in_turn(quants: Sequence[str], available: float, **settings: Any) -> list[Plan]:
    """Plan models one after another, each with what those before it leave."""
    plans: list[Plan] = []
    loaded: list[ModelMemory] = []
    for quant in quants:
        planned = plan_model(
            r1(quant), machine(available), Settings(**{"ctx": 4096, **settings}), beside=loaded
        )
        plans.append(planned)
        if planned.fits:
            loaded.append(ModelMemory(planned.memory))
    return plans


def test_each_model_is_planned_with_what_those_before_it_leave() -> None:
    """Two fit, the third does not, and a smaller one after it does."""
    first, second, third, fourth = in_turn(("Q8_0", "Q4_K_M", "F16", "Q4_0"), 7, parallel=1)
    assert [True, True, False, True] == [first.fits, second.fits, third.fits, fourth.fits]
    taken = first.memory.model + second.memory.model
    later = first.memory.ram_cache + second.memory.ram_cache
    assert 7 * GB - taken - later - DAEMON == third.budget.available == fourth.budget.available
    assert f"memory shared: 2 other models take {taken / MB:.0f} MB" == reason(fourth, "memory shared")


def test_every_model_has_a_worker_and_all_share_the_daemon() -> None:
    """The overhead of a worker counts for each."""
    first, second = in_turn(("Q4_K_M", "Q4_K_M"), 14)
    assert (DAEMON, 0) == (first.memory.daemon, second.memory.daemon)
    assert WORKER < first.memory.worker == second.memory.worker
    assert first.memory.needed == first.memory.ram + DAEMON


def test_a_model_beside_others_gets_by_with_less() -> None:
    """It gives up concurrent answers before it does not fit."""
    alone = plan_model(r1(), machine(5), Settings(ctx=4096))
    beside = plan_model(r1(), machine(5), Settings(ctx=4096), beside=[ModelMemory(MemoryEstimate(GB))])
    assert beside.fits
    assert beside.llama.parallel < alone.llama.parallel or beside.llama.layout != alone.llama.layout


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_what_a_loaded_model_has_taken_counts_once(share: float) -> None:
    """The same is left whether it is loading, has its weights mapped, or holds all of it."""
    other = plan_model(r1(), machine(8), Settings(ctx=4096))
    taken = round(other.memory.ram * share)
    profile = machine(memory=Memory(16 * GB, 8 * GB - taken, None))
    planned = plan_model(r1(), profile, Settings(ctx=4096), beside=[loaded(other, share)])
    assert 8 * GB - other.memory.ram - other.memory.ram_cache == planned.budget.available


def test_models_share_a_limit() -> None:
    """The limit is below the machine's memory, and covers RAM and the GPU together."""
    first, second, third = in_turn(("Q4_K_M",) * 3, 14, parallel=1, memory_limit_mb=3000)
    assert [True, True, False] == [first.fits, second.fits, third.fits]
    assert 3000 * MB == first.budget.limit
    assert 3000 * MB - first.memory.model == second.budget.limit
    remaining = 3000 * MB - first.memory.model - second.memory.model
    assert remaining == third.budget.limit
    assert f"memory_limit_mb leaves {remaining / MB:.0f} MB" in reason(third, "memory short")
    gpu = plan_model(r1(), machine(14, CARD), Settings(ctx=4096, parallel=1, memory_limit_mb=3000))
    assert gpu.memory.gpu > 0
    assert gpu.memory.model == gpu.memory.ram + gpu.memory.gpu <= 3000 * MB


def test_a_limit_takes_memory_from_the_kv_cache_first() -> None:
    """The model fits with fewer concurrent answers."""
    planned = plan_model(r1(), machine(14), Settings(ctx=4096, memory_limit_mb=1700))
    assert planned.fits
    assert planned.memory.model <= 1700 * MB
    assert plan_model(r1(), machine(14), Settings(ctx=4096)).memory.model > 1700 * MB


def test_a_model_that_is_larger_than_the_limit_is_refused() -> None:
    """It could never be loaded, except by force."""
    with pytest.raises(DoesNotFit, match="memory_limit_mb allows 1000") as refused:
        plan_model(r1(), machine(14), Settings(ctx=4096, memory_limit_mb=1000))
    assert "--memory-limit-mb" in str(refused.value.hint)
    forced = plan_model(r1(), machine(14), Settings(ctx=4096, memory_limit_mb=1000, force=True))
    assert False is forced.fits
    assert "memory_limit_mb leaves 1000" in reason(forced, "memory short")


@pytest.mark.parametrize(("limit", "fits"), [(1000, True), (999, False), (None, True)])
def test_two_at_once_keep_to_the_limit(limit: int | None, fits: bool) -> None:
    """Both count while one replaces the other."""
    running = ModelMemory(MemoryEstimate(400), HeldMemory(100))
    replacement = plan_model(r1(), machine(14), Settings(ctx=4096))
    wanted = Plan(
        replacement.config, [], memory=MemoryEstimate(600), budget=MemoryBudget(ram=10_000, limit=limit)
    )
    assert fits is fits_beside(wanted, running)


def options(*quants: str, **settings: Any) -> ModelOptions:
    return ModelOptions(
        R1, None, [offer(R1, quant) for quant in quants], Settings(**{"ctx": 4096, **settings})
    )


def test_a_quantization_is_chosen_for_what_is_left() -> None:
    """The second model gets a smaller quantization, the third does not fit."""
    fast = Calibration("", "", "", cpu=Rates({"": 200 * GB}))
    choices = choose_several([options("Q8_0", "Q4_0", parallel=1) for _ in range(3)], machine(5), fast)
    assert ["Q8_0", "Q4_0"] == [choice.option.quant for choice in choices if isinstance(choice, ModelChoice)]
    assert isinstance(choices[2], DoesNotFit)
