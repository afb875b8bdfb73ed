"""Many clients use a real worker at once, in every way they can, and leave nothing behind."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from edgeinfer.backends.llama_cpp.client import LlamaClient
from edgeinfer.backends.llama_cpp.config import LlamaConfig
from edgeinfer.errors import ContextLengthExceeded, QueueFull
from edgeinfer.inference.output import Delta, Finish
from edgeinfer.inference.sampling import SamplingParams
from edgeinfer.inference.types import Span
from edgeinfer.serving.queue import FairQueue
from tests.support.engine import LAYOUTS
from tests.support.llama_client import eventually, supervised

SYSTEM = "You are a small assistant on this device. Answer in one sentence, and call a tool where one helps. "
SECONDS = 7.0
CTX, PARALLEL, QUEUE, CLIENTS = 256, 4, 6, 12
OUTCOMES = {"answered", "closed", "cancelled", "too long", "queue full"}


class Client:
    """Sends random requests, one after the other, and often gives up on one."""

    def __init__(
        self, client: LlamaClient, fair_queue: FairQueue, words: list[int], seed: str, outcomes: Counter[str]
    ) -> None:
        self.client = client
        self.fair_queue = fair_queue
        self.words = words
        self.chance = random.Random(seed)
        self.outcomes = outcomes

    async def run(self, end: float) -> None:
        """Send requests until `end`, and until every outcome has occurred to some client."""
        while time.monotonic() < end or self.outcomes.keys() < OUTCOMES:
            outcome = await self.ask()
            self.outcomes[outcome] += 1
            if outcome == "queue full":
                await asyncio.sleep(0.02)

    async def ask(self) -> str:
        prompt, n = self.prompt(), self.chance.choice([1, 1, 2, 3])
        max_deltas = self.chance.choice([None, None, 1, 3, 20])
        task = asyncio.create_task(self.outcome(prompt, n, max_deltas))
        if self.chance.random() < 0.25:
            await asyncio.sleep(self.chance.choice([0.0, 0.001, 0.05, 0.5]))
            task.cancel()
        try:
            outcome = await task
        except asyncio.CancelledError:
            return "cancelled"
        if outcome != "queue full":
            assert (len(prompt) >= CTX) == (outcome == "too long")
        return outcome

    def prompt(self) -> list[int]:
        """Make a prompt with a shared prefix; its length goes up to the context's end, or beyond it."""
        shared = self.words[: self.chance.choice([0, 40, 100, 150])]
        length = self.chance.choice([1, 20, 60, CTX - len(shared) - 1, CTX - len(shared), CTX])
        return shared + self.chance.choices(self.words, k=length)

    async def outcome(self, prompt: list[int], n: int, max_deltas: int | None) -> str:
        """Read the answers to their end, or `max_deltas` of their deltas; -> what became of the request."""
        params = SamplingParams(
            temperature=self.chance.choice([0.0, 0.9]),
            max_tokens=self.chance.choice([None, 1, 10, 40]),
            ignore_eos=self.chance.random() < 0.5,
            repeat_penalty=self.chance.choice([1.0, 1.2]),
        )
        deltas = self.client.generate(list(prompt), params, n=n, add_bos=False)
        try:
            async with self.fair_queue.take(self, n):
                return await self.read(deltas, n, max_deltas, len(prompt))
        except ContextLengthExceeded:
            return "too long"
        except QueueFull:
            return "queue full"

    async def read(
        self, deltas: AsyncGenerator[Delta, None], n: int, max_deltas: int | None, n_prompt: int
    ) -> str:
        tokens, finishes = [0] * n, dict[int, Finish]()
        seen = 0
        async with aclosing(deltas):
            async for delta in deltas:
                assert delta.index not in finishes, f"{delta} came after the end"
                tokens[delta.index] += len(delta.tokens)
                if delta.finish:
                    finishes[delta.index] = delta.finish
                seen += 1
                if seen == max_deltas and len(finishes) < n:
                    return "closed"
        assert set(range(n)) == finishes.keys()
        for index, finish in finishes.items():
            assert (n_prompt, tokens[index]) == (finish.prompt_tokens, finish.completion_tokens)
            assert n_prompt + tokens[index] <= CTX
        return "answered"


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS)
async def test_real_worker_survives_a_crowd_of_clients(layout: Any, model_file: Path) -> None:
    """Prompts are shared or too long, cancels come at any moment, the queue overflows, and cells are short."""
    cells = (PARALLEL + 1) * CTX if layout == "streams" else CTX + 100
    config = LlamaConfig(
        str(model_file), "real", ctx=CTX, parallel=PARALLEL, layout=layout, cells=cells, batch=64, ubatch=64
    )
    fair_queue = FairQueue(lambda: PARALLEL, QUEUE)
    async with supervised(config) as client:
        words = (await client.tokenize([Span(SYSTEM * 8, False)])).ids
        assert len(words) >= 150
        outcomes: Counter[str] = Counter()
        end = time.monotonic() + SECONDS
        clients = [Client(client, fair_queue, words, f"{layout} {i}", outcomes) for i in range(CLIENTS)]
        await asyncio.gather(*(each.run(end) for each in clients))
        assert OUTCOMES == outcomes.keys()
        assert 0 == client.active
        await eventually(lambda: (0, 0, 0) == ((s := client.health.stats).running, s.waiting, s.cells_used))
        assert (0, "ready") == (client.health.restarts, client.health.state)
