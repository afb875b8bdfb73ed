"""What the routes share: the model's handle, the settings, the metrics and the clock."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator, Sequence
from contextlib import aclosing
from typing import Any, Literal, cast

import msgspec
from starlette.requests import Request

from edgeinfer.backends.llama_cpp.config import LlamaConfig
from edgeinfer.chat.prompt import PromptBuilder
from edgeinfer.chat.template_renderer import TemplateRenderer
from edgeinfer.errors import EdgeinferError, InvalidRequest, ModelNotFound, ShuttingDown, WorkerDied
from edgeinfer.grammar.compiler import GrammarCompiler
from edgeinfer.grammar.source import Grammar
from edgeinfer.inference.client import EngineClient
from edgeinfer.inference.sampling import SamplingParams
from edgeinfer.inference.structured_output import UNCONSTRAINED, StructuredOutput
from edgeinfer.inference.types import Embeddings, ModelInfo, Prompt, Span
from edgeinfer.metrics import Metrics
from edgeinfer.server.auth.principal import Caller
from edgeinfer.server.openai.schemas.inputs import Input
from edgeinfer.serving.compiled_format import CompiledFormat, compile_format
from edgeinfer.serving.merge import Deltas, merged
from edgeinfer.serving.queue import Turns
from edgeinfer.settings import Settings

DEFAULT_MODEL = "default"

ERRANDS = 128
"""Requests to count tokens, or to compile a grammar, that may wait: each of these is done one by one."""

PIECE = 65536
"""Characters that the worker is given to embed at once: some tenths of a second of its time."""


class Choices(msgspec.Struct, frozen=True):
    """What was decided before the start, and why: shown by /status.

    Attributes:
        config: how the model is loaded.
        reasons: the plan's, in words.
        sources: setting -> where its value came from.
        tool_format: how the model writes tool calls, where its template does not show it.
    """

    config: LlamaConfig
    reasons: Sequence[str] = ()
    sources: dict[str, str] = {}
    tool_format: str | None = None


class Reload(msgspec.Struct, frozen=True):
    """The last reload, as /status shows it.

    Attributes:
        number: reloads so far.
        message: what it came to, or why it failed.
        warnings: what else there is to know.
    """

    number: int
    state: Literal["running", "done", "failed"]
    message: str = ""
    warnings: Sequence[str] = ()
    hint: str | None = None


class Daemon:
    """One daemon. Requests leave no trace in it but metrics, and what was learnt about templates."""

    def __init__(
        self,
        settings: Settings,
        client: EngineClient,
        choices: Choices,
        renderer: TemplateRenderer,
        compiler: GrammarCompiler,
    ) -> None:
        self.settings = settings
        self.client = client
        self.choices = choices
        self.renderer = renderer
        self.compiler = compiler
        self.reload: Reload | None = None
        self.created = int(time.time())
        self._started = time.monotonic()
        self.turns = Turns(self._parallel, settings.queue)
        self.errands = Turns(lambda: 1, ERRANDS)
        self._grammars = Turns(lambda: 2, ERRANDS)
        self.metrics = Metrics(client.health, lambda: self.turns.waiting)
        self._stopping: asyncio.Task[None] | None = None
        self._prompter: tuple[ModelInfo, PromptBuilder] | None = None

    def _parallel(self) -> int:
        """Answers that the engine computes at once."""
        return self.client.info.parallel if self.client.info else self.choices.config.parallel

    async def start(self) -> None:
        await self.client.start()

    async def stop(self) -> None:
        """Drain and end everything. Whoever calls this, and however often, it happens once."""
        if self._stopping is None:
            self._stopping = asyncio.create_task(self._stop())
        await asyncio.shield(self._stopping)

    async def _stop(self) -> None:
        drain = self.settings.drain_timeout
        end = time.monotonic() + drain
        await self.turns.drain(drain if self.client.info else 0.0)  # without a model nobody's turn comes
        await self.client.aclose(max(0.0, end - time.monotonic()))
        await self.renderer.close()
        await self.compiler.close()

    @property
    def stopping(self) -> bool:
        """What runs may end; nothing new is begun."""
        return self._stopping is not None

    @property
    def model_name(self) -> str:
        return self.choices.config.name

    def uptime(self) -> float:
        return time.monotonic() - self._started

    async def model(self, name: str | None) -> ModelInfo:
        """The loaded model, under the name a request gave it.

        Raises:
            ModelNotFound: it has another name.
            NotReady: it did not become ready in time.
        """
        if name is not None and name not in (self.model_name, DEFAULT_MODEL):
            served = f"{self.model_name!r} (or {DEFAULT_MODEL!r}, or leave model out)"
            raise ModelNotFound(f"no such model: {name[:100]!r}; this daemon serves {served}", param="model")
        return await self.client.ready()

    async def generator(self, name: str | None) -> ModelInfo:
        """As `model`. Raises InvalidRequest if it cannot write."""
        info = await self.model(name)
        if not info.generates:
            hint = "POST /v1/embeddings is what it is for"
            raise InvalidRequest(f"{info.name} makes embeddings, not text", param="model", hint=hint)
        return info

    def prompter(self, info: ModelInfo) -> PromptBuilder:
        """Makes prompts for `info`. It learns about templates, so it is kept while the model stays."""
        if self._prompter is None or self._prompter[0] is not info:
            self._prompter = info, PromptBuilder(info, self.renderer, self.choices.tool_format)
        return self._prompter[1]

    async def warm_up(self, info: ModelInfo) -> None:
        """Start the template process and learn the template now, not at somebody's first request."""
        with contextlib.suppress(EdgeinferError):  # that request will be told
            await self.prompter(info).capabilities()

    async def generate(
        self,
        caller: Caller,
        prompts: Sequence[Prompt],
        params: SamplingParams,
        n: int,
        structured: StructuredOutput = UNCONSTRAINED,
    ) -> Deltas:
        """Deltas of n answers to each prompt, once it is the caller's turn; closing this cancels them all."""
        streams = [self._in_turn(caller, prompt, params, n, structured) for prompt in prompts]
        watch = self.metrics.watch()
        try:
            async with aclosing(merged(streams, n)) as deltas:
                async for delta in deltas:
                    watch.delta(delta.index)
                    yield delta
        except WorkerDied:
            if self.client.health.state == "stopped":  # it did not die by itself
                raise ShuttingDown("the service shuts down, and this answer was not done in time") from None
            raise

    async def _in_turn(
        self, caller: Caller, prompt: Prompt, params: SamplingParams, n: int, structured: StructuredOutput
    ) -> Deltas:
        async with self.turns.take(caller.id, n) as turn:
            deltas = self.client.generate(
                prompt, params, n=n, structured=structured, accepted_at=turn.accepted_at
            )
            async with aclosing(deltas):
                async for delta in deltas:
                    if delta.finish:
                        turn.done()
                    yield delta

    async def form(self, caller: Caller, grammar: Grammar | None) -> CompiledFormat:
        """As `compile_format`, once it is the caller's turn: a grammar may take seconds."""
        if grammar is None:
            return await compile_format(self.compiler, None)
        async with self._grammars.take(caller.id):
            return await compile_format(self.compiler, grammar)

    async def embed(self, caller: Caller, inputs: list[Prompt]) -> Embeddings:
        """Vectors of `inputs`, once it is the caller's turn.

        They go to the worker in pieces, between which it sees to others.
        """
        vectors, tokens = list[bytes](), 0
        async with self.turns.take(caller.id):
            for piece in in_pieces(inputs):
                found = await self.client.embed(piece)
                vectors += found.vectors
                tokens += found.tokens
        return Embeddings(vectors, tokens)


def in_pieces(inputs: Sequence[Prompt]) -> Iterator[list[Prompt]]:
    """`inputs` in order, each piece of about PIECE characters or less; one that is longer goes alone."""
    piece, size = list[Prompt](), 0
    for given in inputs:
        more = sum(len(part.text) if isinstance(part, Span) else 1 for part in given)
        if piece and size + more > PIECE:
            yield piece
            piece, size = [], 0
        piece.append(given)
        size += more
    if piece:
        yield piece


def the_daemon(request: Request) -> Daemon:
    daemon: Any = request.app.state.daemon
    return cast("Daemon", daemon)


def as_prompt(given: Input, *, trusted: bool) -> Prompt:
    """`trusted`: control tokens written out in a text are recognised."""
    return [Span(given, trusted)] if isinstance(given, str) else given
