"""How many tokens a conversation may hold, where the settings do not say."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from edgeinfer.gguf.header import Header
from edgeinfer.hardware import detect
from edgeinfer.hardware.profile import HardwareProfile
from edgeinfer.plan import choose
from edgeinfer.plan.available_options import model_options
from edgeinfer.plan.memory_estimate import estimate
from edgeinfer.plan.plan import Plan, plan_model
from edgeinfer.settings import Settings
from tests.support.machines import CARD, machine, r1
from tests.support.paths import TREES

GB = 1 << 30


def planned(profile: HardwareProfile, **settings: Any) -> Plan:
    return plan_model(r1(), profile, Settings(**settings))


def test_memory_decides() -> None:
    """The model comes first, then four answers at once, then a longer conversation."""
    sizes = [
        (planned(machine(gb)).config.ctx, planned(machine(gb)).config.parallel) for gb in (3, 5, 8, 16, 64)
    ]
    assert sizes == sorted(sizes)
    assert sizes[0][0] == 4096
    assert sizes[2] == (8192, 4)
    assert sizes[-1][0] >= 8192


@pytest.mark.parametrize(
    "record", ["pi5-8gb", "orange-pi-5-8gb", "jetson-orin-nano-8gb", "a18-pro-macbook-8gb"]
)
def test_a_board_of_8_gb_holds_the_tools_of_open_webui(record: str) -> None:
    """They have 6,540 tokens."""
    plan = choose(detect(TREES / record), model_options(), Settings()).plan
    assert plan.config.ctx >= 8192
    assert plan.fits


def test_in_a_pool_one_conversation_may_take_all() -> None:
    plan = planned(machine(14, CARD))
    assert (plan.llama.layout, plan.llama.ctx) == ("unified", 32768)
    assert plan.llama.cells >= plan.llama.ctx


@pytest.mark.parametrize(
    ("settings", "ctx"),
    [
        ({"ctx": 4096}, 4096),
        ({"ctx": 2048}, 2048),
        ({"layout": "unified", "cells": 8192}, 8192),
        ({"parallel": 1}, 16384),
        ({"kv_type": "q8_0"}, 4096),
    ],
)
def test_settings_come_first(settings: dict[str, Any], ctx: int) -> None:
    plan = planned(machine(16), **settings)
    assert plan.config.ctx == ctx
    assert all(getattr(plan.config, name) == value for name, value in settings.items())


def test_no_context_is_longer_than_the_model_was_trained_for() -> None:
    model = r1()
    header = model.header
    assert isinstance(header, Header)
    short = replace(header, metadata={**header.metadata, f"{header.architecture}.context_length": 6000})
    plan = plan_model(replace(model, header=short), machine(64), Settings())
    assert plan.config.ctx == 4096
    assert planned(machine(64), ctx=400_000).config.ctx == 131072


def test_what_is_planned_is_what_it_takes() -> None:
    plan = planned(machine(8))
    assert plan.memory == estimate(r1().header, plan.llama, {"neon", "dotprod"})


@pytest.mark.parametrize(
    ("gigabytes", "words"), [(4, "Open WebUI with its tools needs 8192"), (16, "agents need")]
)
def test_the_reason_says_what_clients_need(gigabytes: int, words: str) -> None:
    assert any(
        reason.startswith("ctx ") and words in reason for reason in planned(machine(gigabytes)).reasons
    )
