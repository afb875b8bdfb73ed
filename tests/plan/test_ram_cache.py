"""How much RAM may hold prefixes that had to make room in the KV cache."""

from __future__ import annotations

from typing import Any

import pytest

from edgeinfer.hardware.memory import Memory
from edgeinfer.plan.own_memory import HeldMemory, ModelMemory
from edgeinfer.plan.plan import Plan, plan_model
from edgeinfer.settings import Settings
from tests.support.machines import CARD, machine, r1

MB = 10**6


def planned(available: float, *gpus: Any, **settings: Any) -> Plan:
    return plan_model(r1(), machine(available, *gpus), Settings(**{"ctx": 4096, **settings}))


def reason(plan: Plan) -> str:
    return next((why for why in plan.reasons if why.startswith("ram_cache_mb")), "")


def free(plan: Plan) -> int:
    """Bytes that are left beside a model, and may be left when it embeds."""
    return (plan.budget.ram or 0) - plan.memory.needed - plan.memory.embeddings


@pytest.mark.parametrize("available", [1, 2, 3, 4])
def test_small_boards_keep_nothing(available: float) -> None:
    plan = planned(available)
    assert (0, 0, "") == (plan.llama.ram_cache_mb, plan.memory.ram_cache, reason(plan))


@pytest.mark.parametrize("available", [8, 16, 30])
def test_a_tenth_of_what_is_free_is_used(available: float) -> None:
    """What the model needs and what is left to the system are not free."""
    plan = planned(available)
    assert free(plan) // (10 * MB) == plan.llama.ram_cache_mb
    assert plan.memory.ram_cache == plan.llama.ram_cache_mb * MB
    assert f"ram_cache_mb {plan.llama.ram_cache_mb}:" in reason(plan)


def test_there_is_an_upper_bound() -> None:
    assert 4096 == planned(500).llama.ram_cache_mb


def test_it_changes_nothing_else() -> None:
    """A model is not smaller, nor its context shorter, for the sake of it."""
    with_it, without = planned(16, ctx=None), planned(16, ctx=None, ram_cache_mb=0)
    assert with_it.llama.ram_cache_mb > without.llama.ram_cache_mb == 0
    assert with_it.memory.needed == without.memory.needed
    assert (with_it.llama.ctx, with_it.llama.parallel) == (without.llama.ctx, without.llama.parallel)


def test_it_is_in_ram_where_a_card_computes() -> None:
    plan = planned(16, CARD)
    assert plan.llama.ram_cache_mb > 256
    assert plan.memory.gpu <= (plan.budget.gpu or 0)


def test_a_setting_is_obeyed_as_far_as_that_is_free() -> None:
    assert 100 == planned(4, ram_cache_mb=100).llama.ram_cache_mb
    assert "" == reason(planned(4, ram_cache_mb=100))
    plan = planned(8, ram_cache_mb=1_000_000)
    assert free(plan) // MB == plan.llama.ram_cache_mb
    assert f"ram_cache_mb {plan.llama.ram_cache_mb}: no more is free" == reason(plan)


def test_where_memory_is_unknown_only_a_setting_decides() -> None:
    unknown = machine(memory=Memory(None, None, None))
    assert [0, 700] == [
        plan_model(r1(), unknown, Settings(ctx=4096, ram_cache_mb=asked)).llama.ram_cache_mb
        for asked in (None, 700)
    ]


def test_the_limit_of_all_models_counts_it() -> None:
    first = planned(60, memory_limit_mb=8000)
    assert 0 < first.memory.model + first.memory.ram_cache <= 8000 * MB
    second = plan_model(
        r1(),
        machine(60),
        Settings(ctx=4096, memory_limit_mb=8000),
        beside=[ModelMemory(first.memory)],
    )
    assert 8000 * MB - first.memory.model - first.memory.ram_cache == second.budget.limit


def test_what_a_model_has_yet_to_fill_is_left_to_it() -> None:
    memory = planned(16).memory
    loaded = ModelMemory(memory, HeldMemory(memory.needed))
    assert memory.ram_cache == loaded.pending.ram
