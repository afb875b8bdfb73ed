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
    """Asks whatever comes into its head, one thing after the other, and often loses interest."""

    def __init__(
        self, client: LlamaClient, turns: FairQueue, words: list[int], seed: str, outcomes: Counter[str]
    ) -> None:
        self.client = client
        self.turns = turns
        self.words = words
        self.chance = random.Random(seed)
        self.outcomes = outcomes

    async def run(self, end: float) -> None:
        """Until `end`, and until everything that can happen has happened to somebody."""
        while time.monotonic() < end or self.outcomes.keys() < OUTCOMES:
            outcome = await self.ask()
            self.outcomes[outcome] += 1
            if outcome == "queue full":
                await asyncio.sleep(0.02)

    async def ask(self) -> str:
        prompt, n = self.prompt(), self.chance.choice([1, 1, 2, 3])
        most = self.chance.choice([None, None, 1, 3, 20])
        task = asyncio.create_task(self.outcome(prompt, n, most))
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
        """A beginning that others have too, and words of its own: few, up to the context's end, or too many."""
        shared = self.words[: self.chance.choice([0, 40, 100, 150])]
        length = self.chance.choice([1, 20, 60, CTX - len(shared) - 1, CTX - len(shared), CTX])
        return shared + self.chance.choices(self.words, k=length)

    async def outcome(self, prompt: list[int], n: int, most: int | None) -> str:
        """What comes of a question whose answers are read to their end, or for `most` deltas."""
        params = SamplingParams(
            temperature=self.chance.choice([0.0, 0.9]),
            max_tokens=self.chance.choice([None, 1, 10, 40]),
            ignore_eos=self.chance.random() < 0.5,
            repeat_penalty=self.chance.choice([1.0, 1.2]),
        )
        deltas = self.client.generate(list(prompt), params, n=n, add_bos=False)
        try:
            async with self.turns.take(self, n):
                return await self.read(deltas, n, most, len(prompt))
        except ContextLengthExceeded:
            return "too long"
        except QueueFull:
            return "queue full"

    async def read(self, deltas: AsyncGenerator[Delta, None], n: int, most: int | None, n_prompt: int) -> str:
        tokens, finishes = [0] * n, dict[int, Finish]()
        seen = 0
        async with aclosing(deltas):
            async for delta in deltas:
                assert delta.index not in finishes, f"{delta} came after the end"
                tokens[delta.index] += len(delta.tokens)
                if delta.finish:
                    finishes[delta.index] = delta.finish
                seen += 1
                if seen == most and len(finishes) < n:
                    return "closed"
        assert set(range(n)) == finishes.keys()
        for index, finish in finishes.items():
            assert (n_prompt, tokens[index]) == (finish.prompt_tokens, finish.completion_tokens)
            assert n_prompt + tokens[index] <= CTX
        return "answered"


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS)
async def test_a_real_worker_survives_a_crowd_and_nothing_of_it_stays(layout: Any, model_file: Path) -> None:
    """Shared and overlong prompts, cancellations at any moment, a queue that overflows, a pool that is short."""
    cells = (PARALLEL + 1) * CTX if layout == "streams" else CTX + 100
    config = LlamaConfig(
        str(model_file), "real", ctx=CTX, parallel=PARALLEL, layout=layout, cells=cells, batch=64, ubatch=64
    )
    turns = FairQueue(lambda: PARALLEL, QUEUE)
    async with supervised(config) as client:
        words = (await client.tokenize([Span(SYSTEM * 8, False)])).ids
        assert len(words) >= 150
        outcomes: Counter[str] = Counter()
        end = time.monotonic() + SECONDS
        clients = [Client(client, turns, words, f"{layout} {i}", outcomes) for i in range(CLIENTS)]
        await asyncio.gather(*(each.run(end) for each in clients))
        assert OUTCOMES == outcomes.keys()
        assert 0 == client.active
        await eventually(lambda: (0, 0, 0) == ((s := client.health.stats).running, s.waiting, s.cells_used))
        assert (0, "ready") == (client.health.restarts, client.health.state)
