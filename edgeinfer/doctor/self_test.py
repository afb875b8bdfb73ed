"""The self-test: does the bundled model answer in a real worker?"""

from __future__ import annotations

import asyncio

from edgeinfer.backends.llama_cpp.config import LlamaConfig
from edgeinfer.backends.llama_cpp.handle import WorkerHandle
from edgeinfer.bench.measure import Benchmark
from edgeinfer.doctor.finding import Finding, from_error
from edgeinfer.errors import EdgeinferError

CHECK = "self-test"

ANSWER_TIMEOUT = 120.0
"""Seconds; a small, busy board loads Python, llama.cpp and the model in twenty."""

PROMPT_TOKENS, ANSWER_TOKENS = 16, 16


def check_answer(
    config: LlamaConfig, fix: str, timeout: float = ANSWER_TIMEOUT, unsuitable: str | None = None
) -> list[Finding]:
    """Check that the bundled model answers.

    Args:
        fix: the command that rebuilds llama.cpp.
        unsuitable: what is known to be wrong with its build, and explains a crash.
    """
    try:
        rate = asyncio.run(asyncio.wait_for(_rate(config), timeout))
    except EdgeinferError as e:
        if unsuitable:
            return [Finding(CHECK, "error", f"the bundled model does not answer: {unsuitable}", fix)]
        return [from_error(CHECK, e, fix)]
    except asyncio.TimeoutError:
        text = f"the bundled model did not answer within {timeout:g} s"
        return [Finding(CHECK, "error", text, "see what else uses the CPU: top")]
    return [Finding(CHECK, "ok", f"the bundled model answers, {rate:.0f} tok/s")]


async def _rate(config: LlamaConfig) -> float:
    worker = WorkerHandle(config)
    try:
        await worker.start()
        speed = await Benchmark(worker, await worker.loaded(ANSWER_TIMEOUT)).measure(
            PROMPT_TOKENS, ANSWER_TOKENS
        )
    finally:
        await worker.stop()
    return speed.answer_rate
