"""The bundled model in a real worker: does it answer?"""

from __future__ import annotations

import asyncio

from edgeinfer.backends.llama_cpp.config import LlamaConfig
from edgeinfer.backends.llama_cpp.handle import WorkerHandle
from edgeinfer.bench.measure import Bench
from edgeinfer.doctor.finding import Finding, from_error
from edgeinfer.errors import EdgeinferError

CHECK = "self-test"

LIMIT = 120.0
"""Seconds: a small, busy board loads Python, llama.cpp and the model in twenty."""

PROMPT, ANSWER = 16, 16


def self_test(config: LlamaConfig, fix: str, limit: float = LIMIT) -> list[Finding]:
    """`config`: of the bundled model. `fix`: how to build llama.cpp anew."""
    try:
        rate = asyncio.run(asyncio.wait_for(_rate(config), limit))
    except EdgeinferError as e:
        return [from_error(CHECK, e, fix)]
    except asyncio.TimeoutError:
        text = f"the bundled model did not answer within {limit:g} s"
        return [Finding(CHECK, "error", text, "look whether something else takes the CPU: top")]
    return [Finding(CHECK, "ok", f"the bundled model answers, {rate:.0f} tok/s")]


async def _rate(config: LlamaConfig) -> float:
    worker = WorkerHandle(config)
    try:
        await worker.start()
        found = await Bench(worker, await worker.loaded(LIMIT)).measure(PROMPT, ANSWER)
    finally:
        await worker.stop()
    return found.answer_rate
