"""Answers requests with a supervised llama.cpp process, and resumes them in the next one if it crashes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Sequence
from typing import Any, TypeVar

from edgeinfer.backends.llama_cpp.config import LlamaConfig
from edgeinfer.backends.llama_cpp.exchange import Exchange
from edgeinfer.backends.llama_cpp.handle import WorkerHandle
from edgeinfer.backends.llama_cpp.in_flight import ResumableGeneration, WorkerRequest
from edgeinfer.backends.llama_cpp.launcher import WorkerLauncher
from edgeinfer.backends.llama_cpp.messages import (
    Detokenize,
    Detokenized,
    Embed,
    Embedded,
    Rerank,
    Reranked,
    Tokenize,
    Tokenized,
)
from edgeinfer.backends.supervision.client import SupervisedClient
from edgeinfer.backends.supervision.crash_holds import Activity
from edgeinfer.errors import WorkerDied
from edgeinfer.inference.output import Delta, PartialAnswer
from edgeinfer.inference.sampling import SamplingParams
from edgeinfer.inference.structured_output import UNCONSTRAINED, StructuredOutput
from edgeinfer.inference.types import WHOLE, Cut, Embeddings, Prompt, Scores, Span, Tokens

R = TypeVar("R", Tokenized, Detokenized, Embedded, Reranked)


class LlamaClient(SupervisedClient[WorkerHandle, LlamaConfig]):
    """Implements ResumableEngineClient.

    A request waits up to `wait` seconds for a worker that starts. If the worker crashes, the next one resumes the
    request, and the caller sees nothing but a pause. Only a request that is to blame for crashes raises WorkerDied.
    """

    def __init__(self, config: LlamaConfig, *, wait: float = 30.0, **options: Any) -> None:
        """`options` are those of WorkerLauncher."""
        launcher = WorkerLauncher(config, **options)
        super().__init__(launcher, wait)
        self._close_launcher = launcher.close

    async def aclose(self, drain: float = 0.0) -> None:
        await super().aclose(drain)
        self._close_launcher()

    async def generate(
        self,
        prompt: Prompt,
        params: SamplingParams,
        *,
        n: int = 1,
        add_bos: bool = True,
        structured: StructuredOutput = UNCONSTRAINED,
        revision: str | None = None,
        accepted_at: float | None = None,
        caller: str = "",
        cache_domain: str = "",
        session: str = "",
        partial_answers: Sequence[PartialAnswer | None] = (),
    ) -> AsyncGenerator[Delta, None]:
        request = ResumableGeneration(
            prompt,
            params,
            n,
            add_bos,
            structured,
            revision,
            accepted_at,
            caller,
            cache_domain,
            session,
            partial_answers,
            self.config.determinism,
        )
        self._count(request.unfinished)
        try:
            while request.unfinished:
                with await self._submit(request) as exchange, contextlib.suppress(WorkerDied):
                    while request.unfinished:
                        deltas = await exchange.receive()
                        assert isinstance(deltas, list)
                        for delta in deltas:
                            request.note(delta)
                            self._count(-(delta.finish is not None))
                            yield delta
        except (asyncio.CancelledError, GeneratorExit):
            self._quarantine.abandon(request)
            raise
        finally:
            self._quarantine.release(request)
            self._count(-request.unfinished)

    async def tokenize(
        self, prompt: list[Span], *, add_bos: bool = False, revision: str | None = None, caller: str = ""
    ) -> Tokens:
        request = WorkerRequest(
            lambda id: Tokenize(id, prompt, add_bos), revision, Activity(caller, "tokenizing")
        )
        return (await self._ask(request, Tokenized)).tokens

    async def detokenize(
        self, tokens: Sequence[int], *, revision: str | None = None, caller: str = ""
    ) -> str:
        request = WorkerRequest(
            lambda id: Detokenize(id, list(tokens)), revision, Activity(caller, "detokenizing")
        )
        return (await self._ask(request, Detokenized)).text

    async def embed(
        self, inputs: list[Prompt], *, revision: str | None = None, caller: str = ""
    ) -> Embeddings:
        request = WorkerRequest(lambda id: Embed(id, inputs, caller), revision, Activity(caller, "embedding"))
        return (await self._ask(request, Embedded)).embeddings

    async def rerank(
        self,
        query: str,
        documents: Sequence[str],
        *,
        cut: Cut = WHOLE,
        first: int = 0,
        revision: str | None = None,
        caller: str = "",
    ) -> Scores:
        request = WorkerRequest(
            lambda id: Rerank(id, query, list(documents), cut, first, caller),
            revision,
            Activity(caller, "reranking"),
        )
        return (await self._ask(request, Reranked)).scores

    async def _ask(self, request: WorkerRequest, kind: type[R]) -> R:
        try:
            while True:
                with await self._submit(request) as exchange, contextlib.suppress(WorkerDied):
                    reply = await exchange.receive()
                    assert isinstance(reply, kind)
                    return reply
        except asyncio.CancelledError:
            self._quarantine.abandon(request)
            raise
        finally:
            self._quarantine.release(request)

    async def _submit(self, request: WorkerRequest) -> Exchange:
        """Give the request to a worker, as soon as one may take it. Raises as Placement.place."""
        return (await self._placement.place(request)).submit(request)
