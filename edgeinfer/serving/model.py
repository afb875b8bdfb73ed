"""A model that requests can name: its queue, its templates, and its engine while it is loaded."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Hashable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Literal, Protocol

import msgspec

from edgeinfer import request_figures
from edgeinfer.chat.prompt import PromptBuilder
from edgeinfer.errors import EdgeinferError, ModelReplaced, ShuttingDown, WorkerDied
from edgeinfer.grammar.source import Grammar
from edgeinfer.inference.client import EngineClient, EngineExit, EngineHealth
from edgeinfer.inference.merge import Deltas, merge
from edgeinfer.inference.output import EngineStats
from edgeinfer.inference.sampling import SamplingParams
from edgeinfer.inference.structured_output import UNCONSTRAINED, StructuredOutput
from edgeinfer.inference.types import WHOLE, Cut, Embeddings, ModelInfo, Prompt, Scores, Span, Tokens
from edgeinfer.metrics import Watch
from edgeinfer.plan import Plan
from edgeinfer.request_figures import RequestFigures
from edgeinfer.serving.caller import cache_domain, engine_name, session_name
from edgeinfer.serving.compiled_format import CompiledFormat, compile_format
from edgeinfer.serving.engine_totals import EngineTotals
from edgeinfer.serving.engines import RunningEngine
from edgeinfer.serving.pieces import in_pieces, prompt_size
from edgeinfer.serving.queue import FairQueue, Ticket
from edgeinfer.serving.services import MAX_SHORT_JOBS, Services
from edgeinfer.serving.task import check_task
from edgeinfer.settings import Settings

ModelState = Literal["unloaded", "loading", "ready", "restarting", "reloading", "failed", "stopped"]


class Loading(Protocol):
    """Loads models on demand."""

    async def client(self, model: ServedModel) -> EngineClient:
        """The engine of `model`, which is loaded first if necessary.

        Raises:
            EdgeinferError: why it cannot be loaded.
        """
        ...


class ServedModel:
    """Handles everything that a request does: nothing is prepared for one model and run on another.

    Attributes:
        name: its name in requests and answers.
        settings: how it is served; `settings.model` is its file or the name of an installed model.
        engine: None while it is not loaded.
        last_ctx: tokens of context it had when it was loaded last; None before.
        loading: the task that loads it; None while none does.
        replacing: its engine is being replaced by another one; requests go on.
        last_error: why the last attempt to load it failed; None if it did not.
        failures: failed loads in a row.
        failed_at, loaded_at, last_used: times by the monotonic clock; 0 means never.
        requested_keep_alive: seconds that it stays loaded after a request, where a caller has said so.
        retired: another model took its place; it is not loaded again.
    """

    def __init__(self, name: str, settings: Settings, loader: Loading, services: Services) -> None:
        self.name = name
        self.settings = settings
        self.created = int(time.time())
        self.engine: RunningEngine | None = None
        self.last_ctx: int | None = None
        self.loading: asyncio.Task[None] | None = None
        self.last_error: EdgeinferError | None = None
        self.failures = 0
        self.failed_at = self.loaded_at = self.last_used = 0.0
        self.replacing = self.retired = False
        self.requested_keep_alive: float | None = None
        self.queue = FairQueue(self._parallel, settings.queue, engine_shares=True)
        self.short_jobs = FairQueue(lambda: 1, MAX_SHORT_JOBS)
        self._loader = loader
        self._services = services
        self._prompter: tuple[ModelInfo, PromptBuilder] | None = None
        self._totals = EngineTotals()
        self._last_parallel = settings.parallel or 1

    # --- its state

    @property
    def client(self) -> EngineClient | None:
        return self.engine.client if self.engine else None

    @property
    def health(self) -> EngineHealth | None:
        return self.engine.client.health if self.engine else None

    @property
    def info(self) -> ModelInfo | None:
        return self.engine.client.info if self.engine else None

    @property
    def plan(self) -> Plan | None:
        return self.engine.plan if self.engine else None

    @property
    def state(self) -> ModelState:
        if self.health:
            state = self.health.state
            return "loading" if state == "starting" else state
        if self.loading:
            return "loading"
        return "failed" if self.last_error else "unloaded"

    @property
    def was_used(self) -> bool:
        """It has been loaded, or should have been."""
        return bool(self.loading or self.loaded_at or self.failed_at)

    @property
    def is_pinned(self) -> bool:
        """It stays loaded, and makes room for no other model."""
        return self.settings.keep_alive < 0

    @property
    def busy(self) -> bool:
        """A request is running or waits for its turn, or the engine is being replaced."""
        return self.running or self.replacing or bool(self.queue.waiting or self.short_jobs.waiting)

    @property
    def running(self) -> bool:
        """A request is running."""
        return bool(self.queue.running or self.short_jobs.running)

    @property
    def stats(self) -> EngineStats:
        """The engine's figures, and its counters since the service started; requests in the queue are waiting too."""
        stats = self._totals.stats(self.engine)
        return msgspec.structs.replace(stats, waiting=stats.waiting + self.queue.waiting)

    @property
    def restarts(self) -> int:
        return self._totals.restarts(self.engine)

    @property
    def resumed(self) -> int:
        return self._totals.resumed(self.engine)

    @property
    def exits(self) -> Sequence[EngineExit]:
        """The last processes of its engines that ended by themselves, the oldest first."""
        return self._totals.exits(self.engine)

    # --- for its loader

    def attach(self, engine: RunningEngine) -> None:
        self.engine = engine
        self._last_parallel = engine.plan.config.parallel
        self.loaded_at = self.last_used = time.monotonic()

    def detach(self) -> RunningEngine | None:
        """Remove and return the engine."""
        engine, self.engine = self.engine, None
        self.requested_keep_alive = None
        if engine:
            if info := engine.client.info:
                self.last_ctx = info.ctx
            self._totals.add(engine)
        return engine

    def pause(self) -> None:
        """Admit no request until `resume`."""
        self.queue.pause()
        self.short_jobs.pause()

    def resume(self) -> None:
        self.queue.resume()
        self.short_jobs.resume()

    async def quiet(self, timeout: float) -> bool:
        """Wait until nothing is running, for at most `timeout` seconds; -> True if nothing is."""
        end = time.monotonic() + timeout
        quiet = await self.queue.quiet(timeout)
        return await self.short_jobs.quiet(max(0.0, end - time.monotonic())) and quiet

    # --- for requests

    async def ready(self) -> ModelInfo:
        """The loaded model.

        Raises:
            NotReady: it did not become ready in time.
            EdgeinferError: why it cannot be loaded.
        """
        while True:
            client = await self._loader.client(self)
            self.last_used = time.monotonic()
            try:
                return await client.ready()
            except ShuttingDown:
                if client is self.client:
                    raise
                # It has just been unloaded.

    async def text_model(self) -> ModelInfo:
        """The loaded model, as from `ready`. Raises InvalidRequest if it generates no text."""
        info = await self.ready()
        check_task(info, "generate")
        return info

    @property
    def renderings(self) -> FairQueue:
        """Admits work that renders templates, for all models."""
        return self._services.renderings

    def recommended_sampling(self, *, thinks: bool) -> Mapping[str, float]:
        return self.plan.defaults.values(thinks=thinks) if self.plan else {}

    def prompt_builder(self, info: ModelInfo) -> PromptBuilder:
        """The builder of prompts for `info`. It probes templates, so it is kept while the model stays loaded."""
        if self._prompter is None or self._prompter[0] is not info:
            tool_format = self.plan.tool_format if self.plan else None
            self._prompter = info, PromptBuilder(info, self._services.renderer, tool_format)
        return self._prompter[1]

    @property
    def template_limits(self) -> list[str] | None:
        """What the chat template cannot do, in words; None as long as it has not been probed."""
        return self._prompter[1].known_limits() if self._prompter else None

    async def warm_up(self, info: ModelInfo) -> None:
        """Start the template process and probe the template now, rather than at the first request."""
        with suppress(EdgeinferError):  # the first request will get the error
            await self.prompt_builder(info).capabilities()

    async def compile(self, caller: Hashable, grammar: Grammar | None) -> CompiledFormat:
        """The compiled form of an answer, once it is the caller's turn: a grammar may take seconds.

        Raises:
            InvalidRequest: the grammar is invalid or too complex.
        """
        if grammar is None:
            return await compile_format(self._services.compiler, None)

        def turn() -> Ticket:
            return self._services.compilations.take(caller)

        async with turn():
            return await compile_format(self._services.compiler, grammar, turn)

    def generate(
        self,
        caller: Hashable,
        prompts: Sequence[Prompt],
        params: SamplingParams,
        n: int = 1,
        structured: StructuredOutput = UNCONSTRAINED,
        *,
        info: ModelInfo,
    ) -> Deltas:
        """Deltas of n answers to each prompt, once it is the caller's turn; closing this cancels them all.

        Raises:
            ModelReplaced: the loaded model is no longer `info`, for which the prompts were made.
            QueueFull: there are too many.
        """
        if len(prompts) > 1:
            self.queue.check(caller, len(prompts) * n)
        watch = self._services.metrics.watch(self.name)
        if figures := request_figures.current.get():
            figures.model = self.name
        streams = [
            self._in_turn(caller, prompt, params, n, structured, info, watch, figures, first=at * n)
            for at, prompt in enumerate(prompts)
        ]
        return merge(streams, [at * n for at in range(len(streams))])

    async def _in_turn(
        self,
        caller: Hashable,
        prompt: Prompt,
        params: SamplingParams,
        n: int,
        structured: StructuredOutput,
        info: ModelInfo,
        watch: Watch,
        figures: RequestFigures | None,
        first: int,
    ) -> Deltas:
        """Deltas of the answers to one prompt. `first`: the index of its first answer in the request."""
        async with self.queue.take(caller, n) as ticket, self._loaded_client() as client:
            deltas = client.generate(
                prompt,
                params,
                n=n,
                structured=structured,
                revision=info.revision or None,
                accepted_at=ticket.accepted_at,
                caller=engine_name(caller),
                cache_domain=cache_domain(caller),
                session=session_name(caller),
            )
            try:
                async with aclosing(deltas):
                    async for delta in deltas:
                        if delta.progress is None:
                            watch.delta(first + delta.index)
                            if figures:
                                figures.token()
                        if delta.finish:
                            ticket.done()
                            if figures:
                                figures.finish(delta.finish)
                        yield delta
            finally:
                self.last_used = time.monotonic()

    async def embed(self, caller: Hashable, inputs: Sequence[Prompt], *, info: ModelInfo) -> Embeddings:
        """Vectors of `inputs`, once it is the caller's turn.

        The engine gets them in pieces, and serves other requests in between.

        Raises:
            ModelReplaced: the loaded model is no longer `info`, for which the inputs were made.
        """
        vectors, tokens = list[bytes](), 0
        async with self.queue.take(caller):
            for piece in in_pieces(inputs, prompt_size):
                async with self._loaded_client() as client:
                    embeddings = await client.embed(
                        piece, revision=info.revision or None, caller=engine_name(caller)
                    )
                vectors += embeddings.vectors
                tokens += embeddings.tokens
        self.last_used = time.monotonic()
        return Embeddings(vectors, tokens)

    async def rerank(
        self, caller: Hashable, query: str, documents: Sequence[str], cut: Cut = WHOLE, *, info: ModelInfo
    ) -> Scores:
        """How relevant each document is for the query, once it is the caller's turn.

        The engine gets the documents in pieces, as in `embed`, and the query with each.

        Raises:
            ModelReplaced: the loaded model is no longer `info`.
        """
        values, tokens = list[float](), 0
        async with self.queue.take(caller):
            for piece in in_pieces(documents, lambda document: len(query) + len(document)):
                async with self._loaded_client() as client:
                    scores = await client.rerank(
                        query,
                        piece,
                        cut=cut,
                        first=len(values),
                        revision=info.revision or None,
                        caller=engine_name(caller),
                    )
                values += scores.values
                tokens += scores.tokens
        self.last_used = time.monotonic()
        return Scores(values, tokens)

    async def tokenize(
        self, caller: Hashable, prompt: list[Span], *, add_bos: bool = False, info: ModelInfo
    ) -> Tokens:
        """The tokens of a prompt. Raises ModelReplaced as `generate` does."""
        async with self._loaded_client() as client:
            return await client.tokenize(
                prompt, add_bos=add_bos, revision=info.revision or None, caller=engine_name(caller)
            )

    async def detokenize(self, caller: Hashable, tokens: Sequence[int], *, info: ModelInfo) -> str:
        """The text of tokens. Raises ModelReplaced as `generate` does."""
        async with self._loaded_client() as client:
            return await client.detokenize(
                list(tokens), revision=info.revision or None, caller=engine_name(caller)
            )

    @asynccontextmanager
    async def _loaded_client(self) -> AsyncGenerator[EngineClient, None]:
        """The engine, loaded if need be. Tells a request why it stopped, which the engine itself does not know."""
        client = await self._loader.client(self)
        try:
            yield client
        except (WorkerDied, ShuttingDown):
            if client is not self.client:
                message = f"{self.name} was unloaded before this answer was finished"
                raise ModelReplaced(message, retry_after=1) from None
            if client.health.state == "stopped":  # not a crash
                raise ShuttingDown(
                    "the service is shutting down, and this answer did not finish in time"
                ) from None
            raise

    def _parallel(self) -> int:
        """Answers that the engine computes at once; before its first start, what it was told to."""
        if info := self.info:
            self._last_parallel = info.parallel
        return self._last_parallel
