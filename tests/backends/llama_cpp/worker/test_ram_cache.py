"""A conversation that others pushed out of llama.cpp's KV cache comes back from RAM, and its answer is the same."""

from __future__ import annotations

from contextlib import aclosing
from pathlib import Path

import pytest

from edgeinfer.backends.llama_cpp.client import LlamaClient
from edgeinfer.backends.llama_cpp.config import LlamaConfig
from edgeinfer.inference.output import Finish
from edgeinfer.inference.sampling import SamplingParams
from edgeinfer.inference.types import Span
from tests.support.llama_client import supervised
from tests.support.nano import SYSTEM, chat

GREEDY = SamplingParams(temperature=0.0, max_tokens=16)
OTHERS = [f"{name}: " + "switch on the fan in the office and " * 12 for name in ("one", "two", "three")]


async def answer(client: LlamaClient, prompt: str) -> tuple[str, Finish]:
    text, finish = "", None
    async with aclosing(client.generate([Span(prompt, True)], GREEDY)) as deltas:
        async for delta in deltas:
            text += delta.text
            finish = delta.finish or finish
    assert finish
    return text, finish


@pytest.mark.parametrize(
    ("layout", "flash"),
    [("streams", False), ("unified", False), ("unified", True)],
    ids=["streams", "unified", "unified, flash"],
)
async def test_a_conversation_that_others_pushed_out_goes_on(
    model_file: Path, layout: str, flash: bool
) -> None:
    """All but the end of its last turn is copied back, and nothing of it is computed."""
    config = LlamaConfig(
        model=str(model_file),
        name="nano",
        ctx=512,
        parallel=1,
        layout="streams" if layout == "streams" else "unified",
        cells=1024 if layout == "streams" else 512,
        flash_attention=flash,
        batch=128,
        ubatch=64,
        threads=1,
        ram_cache_mb=64,
    )
    async with supervised(config) as client:
        first = chat("turn on the kitchen light", SYSTEM)
        said, _ = await answer(client, first)
        second = f"{first}{said}<|im_end|>\n<|im_start|>user\nturn it off<|im_end|>\n<|im_start|>assistant\n"
        expected, resident = await answer(client, second)
        for other in OTHERS:
            await answer(client, chat(other))
        stats = client.health.stats
        assert 0 < stats.ram_cache_bytes <= 64_000_000
        assert 0 == stats.ram_cache_hits_total
        text, finish = await answer(client, second)
        stats = client.health.stats
    assert resident.cached_tokens > 64
    assert (text, finish.prompt_tokens - 1) == (expected, finish.cached_tokens)
    assert (1, 0) == (stats.ram_cache_hits_total, stats.ram_cache_failures_total)
    assert stats.ram_cache_tokens_total > 64
