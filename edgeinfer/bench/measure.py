"""Measures the speed of one model in a worker of its own, by the worker's clock."""

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
from edgeinfer.errors import WorkerDied
from edgeinfer.inference.output import Finish
from edgeinfer.inference.sampling import SamplingParams
from edgeinfer.inference.types import ModelInfo
from edgeinfer.plan.wrong_build import wrong_build


class Throughput(msgspec.Struct, frozen=True):
    """Measured speed of one model.

    Attributes:
        prompt_rate: prompt tokens read per second.
        answer_rate: tokens per second of one answer, after its first token.
    """

    prompt_rate: float
    answer_rate: float


class Benchmark:
    """Measures one worker. Answers run to their full length; the model cannot end them."""

    def __init__(self, worker: WorkerHandle, info: ModelInfo, seed: int = 0) -> None:
        self.info = info
        self._worker = worker
        self._random = random.Random(seed)

    async def measure(self, prompt_tokens: int, output_tokens: int) -> Throughput:
        """Read a prompt that is in no cache, and generate an answer."""
        finish = await self._generate(prompt_tokens, output_tokens)
        return Throughput(
            1000 * finish.prompt_tokens / max(finish.prompt_ms, 1e-3),
            1000 * (finish.completion_tokens - 1) / max(finish.predicted_ms, 1e-3),
        )

    async def concurrent_throughput(self, requests: int, prompt_tokens: int, output_tokens: int) -> float:
        """Return the total tokens per second of concurrent answers, with the time for their prompts included."""
        started = time.monotonic()
        finishes = await asyncio.gather(
            *(self._generate(prompt_tokens, output_tokens) for _ in range(requests))
        )
        return sum(finish.completion_tokens for finish in finishes) / (time.monotonic() - started)

    async def predicted_rate(self, prompt_tokens: int, output_tokens: int) -> float:
        """Return the tokens per second of an answer that is as its request predicts, after its first token."""
        tokens = self._tokens(prompt_tokens)
        text, _ = await self._answer(tokens, output_tokens)
        _, finish = await self._answer(tokens, output_tokens, prediction=text)
        return 1000 * (finish.completion_tokens - 1) / max(finish.predicted_ms, 1e-3)

    def _tokens(self, count: int) -> list[int]:
        return [self._random.randrange(self.info.vocab_size) for _ in range(count)]

    async def _generate(self, prompt_tokens: int, output_tokens: int) -> Finish:
        _, finish = await self._answer(self._tokens(prompt_tokens), output_tokens)
        return finish

    async def _answer(
        self, tokens: list[int], output_tokens: int, prediction: str = ""
    ) -> tuple[str, Finish]:
        params = SamplingParams(
            max_tokens=output_tokens, temperature=0, ignore_eos=True, prediction=prediction
        )
        text = ""
        with self._worker.submit(ResumableGeneration(tokens, params)) as exchange:
            while True:
                deltas = await exchange.receive()
                assert isinstance(deltas, list)
                text += "".join(delta.text for delta in deltas)
                if finish := deltas[-1].finish:
                    return text, finish


@asynccontextmanager
async def open_benchmark(config: LlamaConfig, timeout: float = 600.0) -> AsyncIterator[Benchmark]:
    """Start a worker, and stop it at the end.

    Raises:
        EdgeinferError: the model cannot be loaded.
    """
    worker = WorkerHandle(config)
    starting = asyncio.create_task(worker.start())
    try:
        await asyncio.shield(starting)
        yield Benchmark(worker, await worker.loaded(timeout))
    except WorkerDied:
        if worker.exit and (error := await asyncio.to_thread(wrong_build, worker.exit.status)):
            raise error from None
        raise
    finally:
        await starting  # a start that is cancelled meanwhile still leaves a process to stop
        await worker.stop()
