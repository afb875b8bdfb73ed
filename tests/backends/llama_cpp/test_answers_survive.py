"""Answers of llama.cpp are the undisturbed ones however often their worker is killed."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import aclosing
from pathlib import Path

import pytest

from edgeinfer.backends.llama_cpp.client import LlamaClient
from edgeinfer.backends.llama_cpp.config import LlamaConfig
from edgeinfer.engine.config import Determinism
from edgeinfer.inference.output import EngineStats
from edgeinfer.inference.sampling import SamplingParams
from edgeinfer.inference.types import Span
from edgeinfer.plan import make_plan
from edgeinfer.settings import Settings
from tests.support.llama_client import supervised

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="memory that outlives a worker needs memfd_create"),
]

PROMPTS = [f"Story {i}: " + "the light in the kitchen is on and " * (i % 4 + 1) for i in range(8)]
TOKENS = 100


class Streams:
    """Eight answers with seeds at once. The worker is killed whenever they have grown by `tokens`; 0 is never.

    Attributes:
        killed: the last figures of each worker that was killed.
    """

    def __init__(self, client: LlamaClient, tokens: int = 0) -> None:
        self.killed: dict[int, EngineStats] = {}
        self._client = client
        self._kill_every = self._next_kill = tokens
        self._texts = [""] * len(PROMPTS)
        self._num_tokens = 0

    async def run(self) -> list[str]:
        await asyncio.gather(*map(self._stream, range(len(PROMPTS))))
        return self._texts

    async def _stream(self, i: int) -> None:
        params = SamplingParams(seed=i, temperature=1.0, max_tokens=TOKENS, ignore_eos=True)
        async with aclosing(self._client.generate([Span(PROMPTS[i], False)], params)) as deltas:
            async for delta in deltas:
                self._texts[i] += delta.text
                self._num_tokens += len(delta.tokens)
                if self._kill_every and self._num_tokens >= self._next_kill:
                    self._kill()

    def _kill(self) -> None:
        worker = self._client.health.ready_worker
        if worker and worker.pid not in self.killed:
            self._next_kill = self._num_tokens + self._kill_every
            self.killed[worker.pid] = worker.stats
            os.kill(worker.pid, signal.SIGKILL)


@pytest.mark.parametrize("determinism", ["none", "by_row"])
async def test_texts_are_the_same_when_the_worker_is_killed_again_and_again(
    determinism: Determinism, model_file: Path
) -> None:
    """All eight of them, and the next worker goes on from copies, in the steps of the first time or as fast as it can."""
    planned = make_plan(Settings(model=str(model_file))).llama.determinism
    if determinism == "by_row" and planned != "by_row":
        pytest.skip(
            "scripts/setup adds the kernels that make it so on Linux and x86-64, for AVX2 and without AMX"
        )
    config = LlamaConfig(
        model=str(model_file),
        name="nano",
        ctx=512,
        parallel=8,
        cells=9 * 512,
        batch=128,
        ubatch=64,
        ram_cache_mb=64,
        determinism=determinism,
    )
    async with supervised(config) as client:
        undisturbed = await Streams(client).run()
    async with supervised(config) as client:
        for _ in range(2):
            streams = Streams(client, 150)
            assert undisturbed == await streams.run()
            assert len(streams.killed) >= 3
            last = client.health.ready_worker
            assert last
            totals = [*streams.killed.values(), last.stats]
            assert sum(stats.resumed_answers_total for stats in totals) > 0
