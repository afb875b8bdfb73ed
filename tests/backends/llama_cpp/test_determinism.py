"""The same request gets the same text from llama.cpp, whatever else is computed."""

from __future__ import annotations

import asyncio
import platform
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from edgeinfer.backends.llama_cpp.client import LlamaClient
from edgeinfer.backends.llama_cpp.config import LlamaConfig
from edgeinfer.inference.sampling import SamplingParams
from edgeinfer.plan import make_plan
from edgeinfer.settings import Settings
from tests.support.llama_client import eventually, generate, supervised, text

PROMPT = "The light in the kitchen is on, and the light in the hall is off. " * 4
OTHERS = [PROMPT[: 40 * i] + "and then " * (5 + i) for i in range(1, 5)]
PARAMS = SamplingParams(temperature=0.9, seed=5, max_tokens=80, ignore_eos=True, logprobs=0)
LONG = replace(PARAMS, max_tokens=400)


def planned(file: Path, **settings: Any) -> LlamaConfig:
    return make_plan(
        Settings(model=str(file), deterministic=True, ctx=1024, batch=64, ubatch=64, threads=2, **settings)
    ).llama


Drawn = list[tuple[str, float]]
"""The tokens of an answer with their log-probabilities, in which the last digit shows."""


async def drawn(client: LlamaClient, prompt: str = PROMPT, params: SamplingParams = PARAMS) -> Drawn:
    found: Drawn = []
    async with aclosing(generate(client, prompt, params)) as deltas:
        async for delta in deltas:
            found += [(token.chosen.piece.hex(), token.chosen.logprob) for token in delta.logprobs or []]
    return found


async def beside_others(client: LlamaClient) -> Drawn:
    """Ask while others are being answered, which share parts of the prompt, if several can be."""
    others = [asyncio.create_task(drawn(client, prompt, LONG)) for prompt in OTHERS]
    await eventually(lambda: client.health.stats.completion_tokens_total)
    found = await drawn(client)
    for other in others:
        other.cancel()
    await asyncio.gather(*others, return_exceptions=True)
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
    async with supervised(config) as client:
        await client.ready()
        alone = await drawn(client)
    assert 80 == len(alone)
    async with supervised(config) as client:
        await client.ready()
        assert alone == await beside_others(client)
        assert alone == await drawn(client), "and after them"


@pytest.mark.skipif(
    platform.machine() != "x86_64", reason="on emulated ARM the bundled model's text is the same all the same"
)
async def test_text_is_another_beside_others_where_nothing_is_done_about_it(model_file: Path) -> None:
    """So the test above can fail. What is computed together depends on the machine, so it is tried more than once."""
    config = planned(model_file, flash_attention=True, layout="unified")
    config = replace(config, determinism="none", parallel=8, deterministic=False)
    async with supervised(config) as client:
        await client.ready()
        alone = await drawn(client)
        assert any([alone != await beside_others(client) for _ in range(5)])


async def test_guesses_change_nothing_with_a_seed_where_tokens_are_computed_alike(model_file: Path) -> None:
    """Nor does the prediction of a client."""
    config = planned(model_file)
    if config.determinism != "by_row":
        pytest.skip(
            "scripts/setup adds the kernels that make it so on Linux and x86-64, for AVX2 and without AMX"
        )
    async with supervised(replace(config, max_draft=0)) as client:
        await client.ready()
        plain = await drawn(client)
        expected = await text(client, PROMPT, PARAMS)
    async with supervised(config) as client:
        await client.ready()
        assert plain == await drawn(client)
        assert plain == await drawn(client, params=replace(PARAMS, prediction=expected))
        await eventually(lambda: drafted(client) > 0)


def drafted(client: LlamaClient) -> int:
    worker = client.health.ready_worker
    assert worker
    return worker.stats.drafted_tokens_total
