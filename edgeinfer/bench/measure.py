"""One measurement: a worker with a model, a prompt, an answer, and the worker's own clock."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec

from edgeinfer.backends.llama_cpp.config import LlamaConfig
from edgeinfer.backends.llama_cpp.handle import WorkerHandle
from edgeinfer.backends.llama_cpp.in_flight import ResumableGeneration
from edgeinfer.inference.output import Finish
from edgeinfer.inference.sampling import SamplingParams
from edgeinfer.inference.types import ModelInfo


class Throughput(msgspec.Struct, frozen=True):
    """Attributes:
    prompt_rate: tokens a second while a prompt is read.
    answer_rate: tokens a second of one answer, after its first token.
    """

    prompt_rate: float
    answer_rate: float


class Bench:
    """Asks one worker. Answers run to their full length, whatever the model says."""

    def __init__(self, worker: WorkerHandle, info: ModelInfo, seed: int = 0) -> None:
        self.info = info
        self._worker = worker
        self._draw = random.Random(seed)

    async def measure(self, prompt: int, answer: int) -> Throughput:
        """Read `prompt` tokens that nothing has in its cache, write `answer` ones."""
        done = await self._ask(prompt, answer)
        return Throughput(
            1000 * done.prompt_tokens / max(done.prompt_ms, 1e-3),
            1000 * (done.completion_tokens - 1) / max(done.predicted_ms, 1e-3),
        )

    async def together(self, count: int, prompt: int, answer: int) -> float:
        """Tokens a second in sum of `count` answers asked for at once, their prompts included."""
        started = time.monotonic()
        done = await asyncio.gather(*(self._ask(prompt, answer) for _ in range(count)))
        return sum(each.completion_tokens for each in done) / (time.monotonic() - started)

    async def _ask(self, prompt: int, answer: int) -> Finish:
        tokens = [self._draw.randrange(self.info.vocab_size) for _ in range(prompt)]
        params = SamplingParams(max_tokens=answer, temperature=0, ignore_eos=True)
        with self._worker.submit(ResumableGeneration(tokens, params)) as exchange:
            while True:
                deltas = await exchange.receive()
                assert isinstance(deltas, list)
                if finish := deltas[-1].finish:
                    return finish


@asynccontextmanager
async def bench(config: LlamaConfig, timeout: float = 600.0) -> AsyncIterator[Bench]:
    """A worker for as long as it is measured.

    Raises:
        EdgeinferError: the model can't be loaded.
    """
    worker = WorkerHandle(config)
    starting = asyncio.create_task(worker.start())
    try:
        await asyncio.shield(starting)
        yield Bench(worker, await worker.loaded(timeout))
    finally:
        await starting  # whoever is cut short meanwhile still has a process to end
        await worker.stop()
