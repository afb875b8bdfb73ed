"""Answers requests with a supervised vLLM process, and resumes them in the next one if it crashes."""

# ruff: noqa: ARG002 (the protocol has arguments that vLLM has no use for)
from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Collection, Iterator, Sequence
from contextlib import aclosing

from edgeinfer.backends.supervision.crash_holds import Activity
from edgeinfer.backends.supervision.health import WorkerHealth
from edgeinfer.backends.supervision.placement import Placement
from edgeinfer.backends.supervision.request import InFlightRequest
from edgeinfer.backends.supervision.supervisor import WorkerSupervisor
from edgeinfer.backends.supervision.waiting import wait_with_timeout
from edgeinfer.backends.vllm.config import VllmConfig
from edgeinfer.backends.vllm.generation import VllmGeneration
from edgeinfer.backends.vllm.launcher import VllmLauncher
from edgeinfer.backends.vllm.process import VllmProcess
from edgeinfer.errors import InvalidRequest, WorkerDied
from edgeinfer.inference.output import Delta
from edgeinfer.inference.sampling import SamplingParams
from edgeinfer.inference.structured_output import UNCONSTRAINED, StructuredOutput
from edgeinfer.inference.types import WHOLE, Cut, Embeddings, ModelInfo, Prompt, Scores, Span, Tokens


class VllmClient:
    """Implements EngineClient, as LlamaClient does; vLLM only generates text here."""

    def __init__(
        self,
        config: VllmConfig,
        *,
        markers: Collection[str] = (),
        load_timeout: float = 600.0,
        hang_timeout: float = 60.0,
        wait: float = 30.0,
    ) -> None:
        """`markers` are control tokens to be shown as text. A request waits `wait` seconds for a process that starts."""
        self._launcher = VllmLauncher(
            config, markers=markers, load_timeout=load_timeout, hang_timeout=hang_timeout
        )
        self._supervisor: WorkerSupervisor[VllmProcess, VllmConfig] = WorkerSupervisor(self._launcher)
        self._quarantine = self._launcher.quarantine
        self._placement = Placement(self._supervisor, self._quarantine, wait)
        self._markers = markers
        self._active = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def config(self) -> VllmConfig:
        return self._launcher.config

    @property
    def config_changes(self) -> list[str]:
        return self._launcher.changes

    @property
    def info(self) -> ModelInfo | None:
        worker = self.health.ready_worker
        return worker.info if worker else None

    @property
    def health(self) -> WorkerHealth[VllmProcess]:
        return self._supervisor.health

    async def start(self) -> None:
        await self._supervisor.start()

    async def ready(self) -> ModelInfo:
        worker = await self._placement.ready_worker()
        assert worker.info
        return worker.info

    async def replace(
        self, config: VllmConfig, *, beside: bool, drain: float, switched: Callable[[], None]
    ) -> ModelInfo:
        """Replace the running process, see WorkerSupervisor.replace."""
        return await self._supervisor.replace(config, beside=beside, drain=drain, switched=switched)

    async def aclose(self, drain: float = 0.0) -> None:
        await self._supervisor.refuse_requests()
        await wait_with_timeout(drain, self._idle.wait())
        await self._supervisor.aclose()

    async def kill(self) -> None:
        self._supervisor.kill()
        await self.aclose()

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
        self._active += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._active -= 1
            if not self._active:
                self._idle.set()
