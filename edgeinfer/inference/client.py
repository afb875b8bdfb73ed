"""The seam between the service and an engine that computes answers for one model.

`EngineClient` is all that serving/ and server/ know of an engine. backends/llama_cpp implements it with a supervised
process, inference/fake with a script; a vLLM process or a replica in a cluster would be others.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Literal, Protocol

import msgspec

from edgeinfer.errors import EdgeinferError
from edgeinfer.inference.output import Delta, EngineStats, PartialAnswer
from edgeinfer.inference.sampling import SamplingParams
from edgeinfer.inference.structured_output import UNCONSTRAINED, StructuredOutput
from edgeinfer.inference.types import (
    WHOLE,
    Cut,
    Embeddings,
    EngineBuild,
    ModelInfo,
    Prompt,
    Scores,
    Span,
    Tokens,
)

EngineState = Literal["starting", "ready", "restarting", "reloading", "failed", "stopped"]


class EngineExit(msgspec.Struct, frozen=True):
    """A process of the engine that ended by itself, or did not become ready.

    Attributes:
        at: seconds since 1970.
        cause: in words.
        was_ready: it had loaded the model.
    """

    at: float
    cause: str
    was_ready: bool


class EngineHealth(Protocol):
    """How an engine is doing, as operators and the watchdog see it."""

    @property
    def state(self) -> EngineState: ...

    @property
    def healthy(self) -> bool:
        """False when the engine makes no progress and nothing is being done about it."""
        ...

    @property
    def stats(self) -> EngineStats:
        """Figures of the last step."""
        ...

    @property
    def earlier_stats(self) -> EngineStats:
        """Counters of the processes before this one; its own begin at zero."""
        ...

    @property
    def last_error(self) -> EdgeinferError | None:
        """Why the last attempt to load the model failed; None if it did not."""
        ...

    @property
    def last_exit(self) -> str | None:
        """How the engine's last process ended, in words; None if none has ended by itself."""
        ...

    @property
    def exits(self) -> Sequence[EngineExit]:
        """The last processes that ended by themselves, the oldest first."""
        ...

    @property
    def load_progress(self) -> float | None:
        """The share of the model that has been read, while it is being loaded; None if that is unknown."""
        ...

    @property
    def restarts(self) -> int:
        """Processes started in place of dead ones."""
        ...

    @property
    def resumed(self) -> int:
        """Requests that a restarted engine has continued."""
        ...

    @property
    def load_seconds(self) -> float: ...

    @property
    def pid(self) -> int | None:
        """The engine's process, None while there is none."""
        ...

    @property
    def confinement(self) -> str | None:
        """What the process cannot reach, and by which means, in words; None while there is no process."""
        ...

    @property
    def build(self) -> EngineBuild | None:
        """The program that computes; None while it does not run, or if it has nothing to tell."""
        ...


class EngineClient(Protocol):
    """Answers requests for one model, from `start` to `aclose`."""

    @property
    def info(self) -> ModelInfo | None:
        """The loaded model; None while there is none."""
        ...

    @property
    def config(self) -> object:
        """The configuration in force, for /status. It may ask for less than the plan did."""
        ...

    @property
    def config_changes(self) -> Sequence[str]:
        """Differences from the plan and their reasons, in words."""
        ...

    @property
    def health(self) -> EngineHealth: ...

    async def start(self) -> None:
        """Begin to load the model; returns before it is ready."""
        ...

    async def ready(self) -> ModelInfo:
        """The loaded model, once it is there.

        Raises:
            NotReady: it did not become ready in time.
            ShuttingDown: the client is closed.
            EdgeinferError: why the model cannot be loaded.
        """
        ...

    def generate(
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
        """Deltas of all n answers, until each has had its `finish`.

        Closing the generator, or cancelling the task it runs in, cancels the request. `revision` is that of the
        ModelInfo for which the prompt was made; None accepts any. `accepted_at` is when the request was accepted, by
        the monotonic clock (None: now): the wait since then is part of `Finish.queue_ms`. Callers share the engine,
        however much each of them asks for. Only prompts of one `cache_domain` use each other's prefixes. The prefix of a
        caller's `session` is kept longer than what the caller's other requests leave.

        Raises:
            ModelReplaced: the loaded model has another revision by now.
            ContextLengthExceeded: the prompt does not fit.
        """
        ...

    async def tokenize(
        self, prompt: list[Span], *, add_bos: bool = False, revision: str | None = None, caller: str = ""
    ) -> Tokens:
        """The tokens of a prompt. Raises ModelReplaced as `generate` does."""
        ...

    async def detokenize(
        self, tokens: Sequence[int], *, revision: str | None = None, caller: str = ""
    ) -> str:
        """The text of tokens. Raises ModelReplaced as `generate` does."""
        ...

    async def embed(
        self, inputs: list[Prompt], *, revision: str | None = None, caller: str = ""
    ) -> Embeddings:
        """A vector for each input. Raises ModelReplaced as `generate` does."""
        ...

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
        """How relevant each document is for the query; more is better, and each model has a scale of its own.

        `first` is the number of the first document in errors. Raises ModelReplaced as `generate` does.

        Raises:
            InvalidRequest: the model is no reranker.
            ContextLengthExceeded: a document and the query do not fit together.
        """
        ...

    async def aclose(self, drain: float = 0.0) -> None:
        """Refuse new requests, give running ones `drain` seconds, then end the engine. May be called again."""
        ...

    async def kill(self) -> None:
        """End the engine at once: running requests fail, and nothing is saved."""
        ...


class ResumableEngineClient(EngineClient, Protocol):
    """An engine that continues answers which another one has begun."""

    def generate(
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
        """What is missing of the answers. `partial_answers` is empty, or has what there is of each; None is complete.

        Otherwise as EngineClient.generate. With the params' seed given, the text is the one engine's alone.
        """
        ...
