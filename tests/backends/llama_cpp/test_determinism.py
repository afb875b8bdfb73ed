"""The same request gets the same text from llama.cpp, whatever else is computed."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from edgeinfer.backends.llama_cpp.client import LlamaClient
from edgeinfer.backends.llama_cpp.config import LlamaConfig
from edgeinfer.hardware import detect
from edgeinfer.inference.sampling import SamplingParams
from edgeinfer.plan import make_plan
from edgeinfer.settings import Settings
from tests.support.llama_client import eventually, supervised, text

PROMPT = "The light in the kitchen is on, and the light in the hall is off. " * 4
OTHERS = [PROMPT[: 40 * i] + "and then " * (5 + i) for i in range(1, 5)]
PARAMS = SamplingParams(temperature=0.9, seed=5, max_tokens=80, ignore_eos=True)


def planned(file: Path, **settings: Any) -> LlamaConfig:
    return make_plan(
        Settings(model=str(file), deterministic=True, ctx=1024, batch=64, ubatch=64, threads=2, **settings)
    ).llama


async def texts(config: LlamaConfig, *, beside: bool) -> str:
    """The text of the prompt, asked for when others are being answered, which share parts of it, or alone."""
    async with supervised(config) as client:
        await client.ready()
        others = [asyncio.create_task(text(client, p, PARAMS)) for p in OTHERS] if beside else []
        if beside:
            await others[0]
        found = await text(client, PROMPT, PARAMS)
        await asyncio.gather(*others)
        return found


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({}, id="as planned"),
        pytest.param({"flash_attention": True, "layout": "unified"}, id="alone"),
    ],
)
async def test_text_is_the_same_alone_and_beside_others(settings: dict[str, Any], model_file: Path) -> None:
    config = planned(model_file, **settings)
    assert "none" != config.determinism
    if settings:
        assert ("alone", 1) == (config.determinism, config.parallel)
    assert await texts(config, beside=False) == await texts(config, beside=True)


async def test_guesses_change_nothing_with_a_seed_where_tokens_are_computed_alike(model_file: Path) -> None:
    """Nor does the prediction of a client."""
    build = detect().llama
    if build is None or not build.row_exact:
        pytest.skip("scripts/setup adds the kernels that make it so on Linux and x86-64")
    config = planned(model_file)
    assert "by_row" == config.determinism
    plain = await texts(replace(config, max_draft=0), beside=False)
    async with supervised(config) as client:
        await client.ready()
        repeated = SamplingParams(temperature=0.9, seed=5, max_tokens=80, ignore_eos=True, prediction=plain)
        assert plain == await text(client, PROMPT, PARAMS)
        assert plain == await text(client, PROMPT, repeated)
        await eventually(lambda: drafted(client) > 0)


def drafted(client: LlamaClient) -> int:
    worker = client.health.ready_worker
    assert worker
    return worker.stats.drafted_tokens_total
