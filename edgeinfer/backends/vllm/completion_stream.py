"""Sends one request to vLLM's /v1/completions, and reads the chunks of its answer."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import httpx
import msgspec

from edgeinfer.backends.vllm.answer import VllmChoice
from edgeinfer.backends.vllm.process import VllmProcess
from edgeinfer.errors import ConstraintFailed, DecodeFailed, EdgeinferError, InvalidRequest

DATA = "data: "
DONE = "[DONE]"


class _CachedTokens(msgspec.Struct):
    cached_tokens: int | None = None


class Usage(msgspec.Struct):
    """Token counts of a request, which come with its last chunk."""

    prompt_tokens: int = 0
    prompt_tokens_details: _CachedTokens | None = None

    @property
    def cached_tokens(self) -> int:
        return (self.prompt_tokens_details and self.prompt_tokens_details.cached_tokens) or 0


class _Error(msgspec.Struct):
    message: str = ""
    param: str | None = None


class VllmChunk(msgspec.Struct):
    choices: list[VllmChoice] = []
    usage: Usage | None = None
    error: _Error | None = None


class _ErrorBody(msgspec.Struct):
    error: _Error


async def completion_chunks(worker: VllmProcess, body: dict[str, Any]) -> AsyncGenerator[VllmChunk, None]:
    """The chunks of an answer; closing this cancels the request.

    Raises:
        WorkerDied: the process has ended.
        InvalidRequest: vLLM refuses the request.
        DecodeFailed, ConstraintFailed: it has failed.
    """
    worker.check_alive()
    try:
        async with worker.http.stream("POST", "/v1/completions", json=body) as response:
            if response.status_code != httpx.codes.OK:
                raise await _refusal(worker, response.status_code, await response.aread())
            async for line in response.aiter_lines():
                if not line.startswith(DATA):
                    continue
                if line == DATA + DONE:
                    return
                chunk = _decoded(line[len(DATA) :])
                if chunk.error:
                    constrained = "structured_outputs" in body
                    raise await _failure(worker, chunk.error.message, constrained=constrained)
                yield chunk
        raise await worker.lost("an answer was cut")
    except httpx.HTTPError as e:
        raise await worker.lost(str(e) or type(e).__name__) from e


async def _refusal(worker: VllmProcess, status: int, data: bytes) -> EdgeinferError:
    try:
        error = msgspec.json.decode(data, type=_ErrorBody).error
    except ValueError:
        error = _Error(data[:300].decode("utf-8", "replace"))
    if status == httpx.codes.BAD_REQUEST:
        return InvalidRequest(f"vLLM refuses the request: {error.message}", param=error.param)
    return await _failure(worker, error.message or f"status {status}", constrained=False)


async def _failure(worker: VllmProcess, message: str, *, constrained: bool) -> EdgeinferError:
    """The error for a request that failed: its own, or that of a process which is dying."""
    if not await worker.is_healthy():
        return await worker.lost(message)
    if constrained:
        return ConstraintFailed(f"the answer could not be kept to its grammar: {message}")
    return DecodeFailed(f"vLLM failed to compute the answer: {message}")


def _decoded(line: str) -> VllmChunk:
    try:
        return msgspec.json.decode(line, type=VllmChunk)
    except ValueError as e:
        raise DecodeFailed(f"vLLM sent what cannot be understood: {e}") from e
