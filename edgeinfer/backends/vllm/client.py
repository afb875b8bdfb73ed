"""Answers requests with a supervised vLLM process, and resumes them in the next one if it crashes."""

# ruff: noqa: ARG002 (the protocol has arguments that vLLM has no use for)
from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Collection, Iterator, Sequence
from contextlib import aclosing

from edgeinfer.backends.supervision.client import SupervisedClient
from edgeinfer.backends.supervision.crash_holds import Activity
from edgeinfer.backends.supervision.request import InFlightRequest
from edgeinfer.backends.vllm.config import VllmConfig
from edgeinfer.backends.vllm.generation import VllmGeneration
from edgeinfer.backends.vllm.launcher import VllmLauncher
from edgeinfer.backends.vllm.process import VllmProcess
from edgeinfer.errors import InvalidRequest, WorkerDied
from edgeinfer.inference.output import Delta
from edgeinfer.inference.sampling import SamplingParams
from edgeinfer.inference.structured_output import UNCONSTRAINED, StructuredOutput
from edgeinfer.inference.types import WHOLE, Cut, Embeddings, Prompt, Scores, Span, Tokens


class VllmClient(SupervisedClient[VllmProcess, VllmConfig]):
    """Implements EngineClient, as LlamaClient does; vLLM only generates text here."""

    def __init__(
        self,
        config: VllmConfig,
        *,
        markers: Collection[str] = (),
        load_timeout: float = 600.0,
        hang_timeout: float = 60.0,
        wait: float = 30.0,
        confine: bool = True,
    ) -> None:
        """`markers` are control tokens to be shown as text. A request waits `wait` seconds for a process that starts."""
        launcher = VllmLauncher(
            config, markers=markers, load_timeout=load_timeout, hang_timeout=hang_timeout, confine=confine
        )
        super().__init__(launcher, wait)
        self._markers = markers

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
    ) -> AsyncGenerator[Delta, None]:
        request = VllmGeneration(
            prompt, params, n, add_bos, structured, revision, accepted_at, caller, cache_domain, self._markers
        )
        with self._counted():
            try:
                while request.unfinished:
                    worker = await self._placement.place(request)
                    with contextlib.suppress(WorkerDied), worker.carrying(request, n):
                        await request.prepare(worker)
                        async with aclosing(request.deltas(worker)) as deltas:
                            async for delta in deltas:
                                if delta.finish:
                                    worker.count(delta.finish)
                                yield delta
            except (asyncio.CancelledError, GeneratorExit):
                self._quarantine.abandon(request)
                raise
            finally:
                self._quarantine.release(request)

    async def tokenize(
        self, prompt: list[Span], *, add_bos: bool = False, revision: str | None = None, caller: str = ""
    ) -> Tokens:
        request = InFlightRequest(revision, Activity(caller, "tokenizing"))
        try:
            while True:
                worker = await self._placement.place(request)
                with contextlib.suppress(WorkerDied), worker.carrying(request, 0):
                    ids = await worker.tokens(prompt, add_bos=add_bos)
                    return Tokens(ids, [worker.tokenizer.vocabulary.piece(id) for id in ids])
        finally:
            self._quarantine.release(request)

    async def detokenize(
        self, tokens: Sequence[int], *, revision: str | None = None, caller: str = ""
    ) -> str:
        request = InFlightRequest(revision, Activity(caller, "detokenizing"))
        worker = await self._placement.place(request)
        return worker.tokenizer.vocabulary.text(list(tokens))

    async def embed(
        self,
        inputs: list[Prompt],
        *,
        revision: str | None = None,
        caller: str = "",
    ) -> Embeddings:
        raise self._only_text("make embeddings")

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
        raise self._only_text("score documents")

    def _only_text(self, action: str) -> InvalidRequest:
        return InvalidRequest(
            f"{self.config.name} is served by vLLM, which only generates text here, and cannot {action}",
            param="model",
            hint="name a model in a GGUF file, made for it; edgeinfer models ls --all shows some",
        )

    @contextlib.contextmanager
    def _counted(self) -> Iterator[None]:
        self._count(1)
        try:
            yield
        finally:
            self._count(-1)
