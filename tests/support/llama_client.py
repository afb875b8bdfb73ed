"""A LlamaClient with workers that compute with the fake backend, for tests."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any

from msgspec.structs import replace

from edgeinfer.backends.llama_cpp.client import LlamaClient
from edgeinfer.backends.llama_cpp.config import LlamaConfig
from edgeinfer.inference.output import Delta
from edgeinfer.inference.sampling import SamplingParams
from edgeinfer.inference.types import Span
from tests.support.llama import config

FAKE = config(ctx=2048, batch=512)
SLOW = replace(FAKE, model="fake:5")
ENDLESS = SamplingParams(ignore_eos=True, seed=1)
SHORT = SamplingParams(max_tokens=3, ignore_eos=True, seed=1)


@asynccontextmanager
async def supervised(
    config: LlamaConfig = FAKE, *, wait: float = 60.0, **options: Any
) -> AsyncGenerator[LlamaClient, None]:
    client = LlamaClient(config, wait=wait, **options)
    await client.start()
    try:
        yield client
    finally:
        await client.aclose()


async def eventually(condition: Callable[[], object]) -> None:
    """Wait until the condition holds. The bound is there to fail a test, not to time it."""
    for _ in range(1200):
        if condition():
            return
        await asyncio.sleep(0.05)
    raise AssertionError("it never came true")


def generate(
    client: LlamaClient, prompt: str, params: SamplingParams = SHORT, n: int = 1, **options: Any
) -> AsyncGenerator[Delta, None]:
    return client.generate([Span(prompt, False)], params, n=n, add_bos=False, **options)


async def text(
    client: LlamaClient,
    prompt: str = "hello",
    params: SamplingParams = SHORT,
    n: int = 1,
    **options: Any,
) -> str:
    """The whole of the answers, one after the other."""
    texts = [""] * n
    async with aclosing(generate(client, prompt, params, n, **options)) as deltas:
        async for delta in deltas:
            texts[delta.index] += delta.text
    return "".join(texts)


def pid(client: LlamaClient) -> int:
    assert client.health.pid is not None
    return client.health.pid


def kill(client: LlamaClient, number: signal.Signals = signal.SIGKILL) -> None:
    os.kill(pid(client), number)
