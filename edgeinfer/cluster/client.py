"""An engine client whose engines are the replicas of a fleet."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import TypeVar

from msgspec.structs import replace

from edgeinfer.backends.llama_cpp.in_flight import ResumableGeneration
from edgeinfer.backends.llama_cpp.messages import (
    Detokenize,
    Detokenized,
    Embed,
    Embedded,
    Failed,
    Rerank,
    Reranked,
    Tokenize,
    Tokenized,
)
from edgeinfer.cluster.answer import PATIENCE, FleetAnswer, LossPolicy
from edgeinfer.cluster.fleet import Fleet
from edgeinfer.cluster.fleet_health import FleetHealth
from edgeinfer.cluster.group import ReplicaLost
from edgeinfer.cluster.messages import Call, Describe, Described, encode, to_ingress
from edgeinfer.cluster.replica_search import ReplicaSearch
from edgeinfer.cluster.routing import RoutingKey, prompt_blocks
from edgeinfer.errors import EdgeinferError, ModelReplaced, ShuttingDown, revive
from edgeinfer.inference.output import Delta
from edgeinfer.inference.sampling import SamplingParams
from edgeinfer.inference.structured_output import UNCONSTRAINED, StructuredOutput
from edgeinfer.inference.types import WHOLE, Cut, Embeddings, ModelInfo, Prompt, Scores, Span, Tokens

R = TypeVar("R", Tokenized, Detokenized, Embedded, Reranked, Described)


class FleetClient:
    """Implements EngineClient for one model.

    A request goes to one replica at a time. If that is lost, or gives no sign of life, another one continues with what
    has come so far: nothing that the first one may still send is read.
    """

    def __init__(self, fleet: Fleet, described: Described, policy: LossPolicy) -> None:
        """`described` is what one of the replicas has said of the model."""
        self._fleet = fleet
        self._name = described.info.name  # "qwen3-0.6b" on nodes that were told to serve qwen3-0.6b:Q4_K_M
        self._described = described
        self._policy = policy
        self._running = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._info: ModelInfo | None = None
        self.health = FleetHealth(fleet, self._name, described)

    @property
    def info(self) -> ModelInfo | None:
        """The model, with the longest context that a replica has and the answers that all compute at once.

        The revision stands for what prompts depend on: several files may have the same.
        """
        models = [model for model in self._fleet.models(self._name) if model.parallel]
        described = self._described.info
        info = replace(
            described,
            revision=self._described.prompt_format,
            ctx=max((model.ctx for model in models), default=described.ctx),
            parallel=sum(model.parallel for model in models) or described.parallel,
        )
        if info != self._info:
            self._info = info
        return self._info

    @property
    def config(self) -> object:
        info = self.info
        return {"ctx": info.ctx, "parallel": info.parallel} if info else {}

    @property
    def config_changes(self) -> Sequence[str]:
        return []

    async def start(self) -> None:
        pass

    async def ready(self) -> ModelInfo:
        if self.health.state == "stopped":
            raise ShuttingDown("the service is shutting down", retry_after=5)
        assert self.info
        return self.info

    async def aclose(self, drain: float = 0.0) -> None:
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._idle.wait(), drain)
        self.health.stopped = True

    async def kill(self) -> None:
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
        request = ResumableGeneration(
            prompt, params, n, add_bos, structured, None, accepted_at, caller, cache_domain, session
        )
        key = RoutingKey(request_id(), self._name, session, prompt_blocks(prompt, cache_domain))
        answer = FleetAnswer(self._fleet, request, key, self._format(revision), self._policy)
        self._count(1)
        try:
            async with aclosing(answer.deltas()) as deltas:
                async for delta in deltas:
                    yield delta
        finally:
            self.health.resumed += answer.resumed
            self._count(-1)

    async def tokenize(
        self,
        prompt: list[Span],
        *,
        add_bos: bool = False,
        revision: str | None = None,
        caller: str = "",  # noqa: ARG002  # a worker does not ask either
    ) -> Tokens:
        call = Call(self._name, Tokenize(1, prompt, add_bos), self._format(revision))
        return (await ask(self._fleet, call, Tokenized)).tokens

    async def detokenize(
        self,
        tokens: Sequence[int],
        *,
        revision: str | None = None,
        caller: str = "",  # noqa: ARG002  # as tokenize
    ) -> str:
        call = Call(self._name, Detokenize(1, list(tokens)), self._format(revision))
        return (await ask(self._fleet, call, Detokenized)).text

    async def embed(
        self, inputs: list[Prompt], *, revision: str | None = None, caller: str = ""
    ) -> Embeddings:
        call = Call(self._name, Embed(1, inputs, caller), self._format(revision))
        return (await ask(self._fleet, call, Embedded)).embeddings

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
        message = Rerank(1, query, list(documents), cut, first, caller)
        return (await ask(self._fleet, Call(self._name, message, self._format(revision)), Reranked)).scores

    def _format(self, revision: str | None) -> str:
        """The format of prompts for the model. Raises ModelReplaced: `revision` stands for another one."""
        if revision not in (None, self._described.prompt_format):
            raise ModelReplaced(
                "the model was replaced before this answer began; send the request again", retry_after=1
            )
        return self._described.prompt_format

    def _count(self, change: int) -> None:
        self._running += change
        if self._running:
            self._idle.clear()
        else:
            self._idle.set()


async def describe(fleet: Fleet, name: str, patience: float) -> Described:
    """What the replicas have under the name of a model; one of them loads it if none has.

    Raises:
        ModelNotFound: no node has such a model.
        EdgeinferError: why none can load it.
    """
    return await ask(fleet, Call(name, Describe(1)), Described, patience)


async def ask(fleet: Fleet, call: Call, kind: type[R], patience: float = PATIENCE) -> R:
    """The only reply to `call`, from whichever replica can give it."""
    key = RoutingKey(request_id(), call.model)
    search = ReplicaSearch(fleet, key, patience)
    while True:
        group = await search.next()
        try:
            reply = to_ingress.decode(await group.ask(encode(call), encode(key)))
            if isinstance(reply, Failed):
                raise revive(reply.error)
            assert isinstance(reply, kind)
            return reply
        except ReplicaLost:
            search.lost(group)
        except EdgeinferError as e:
            search.refused(group, e)


def request_id() -> str:
    return secrets.token_hex(8)
