"""One node's engines as a replica of Ray Serve: requests as bytes in, replies as bytes out."""

from __future__ import annotations

import asyncio
import contextlib
import platform
import time
from collections.abc import AsyncGenerator
from typing import Any, Literal, TypeVar

import msgspec
from msgspec.structs import replace

from edgeinfer import __version__, settings
from edgeinfer.backends.llama_cpp.messages import (
    Detokenize,
    Detokenized,
    Embed,
    Embedded,
    Failed,
    Generate,
    Rerank,
    Reranked,
    Tokenize,
    Tokenized,
)
from edgeinfer.backends.supervision.waiting import wait_with_timeout
from edgeinfer.cluster.identity import prompt_format, weights_id
from edgeinfer.cluster.messages import (
    Call,
    Describe,
    Described,
    ReplicaModel,
    ReplicaStatus,
    Reply,
    Source,
    Started,
    Streamed,
    encode,
    to_replica,
)
from edgeinfer.cluster.node_models import NodeModels
from edgeinfer.cluster.routing import LOADED_MODELS
from edgeinfer.errors import EdgeinferError, ModelReplaced, NotReady
from edgeinfer.inference.client import ResumableEngineClient
from edgeinfer.inference.output import Delta
from edgeinfer.inference.types import ModelInfo
from edgeinfer.serving.model import ServedModel
from edgeinfer.store.lookup import BUNDLED_MODEL

T = TypeVar("T")


class ReplicaArgs(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a replica is started with.

    Attributes:
        hardware_class: the class of machine that it runs on.
        settings: settings of the fleet; they take precedence over those of the node.
        version: of the program that has deployed it; another one makes Ray Serve replace the replicas.
        replicas: how many there are, see `ReplicasPerNode`.
        target: requests for each replica, if their number decides how many there are.
        router: the import path of the RequestRouter that chooses a replica.
        canary: it serves its model beside another version of it, and so under its full name.
    """

    hardware_class: str
    settings: dict[str, Any] = {}
    version: str = ""
    replicas: Literal["all", "auto"] | int = "all"
    target: float = 2.0
    router: str = "edgeinfer.cluster.router:FleetRouter"
    canary: bool = False


class EngineReplica:
    """Answers `Call`s with the models of its node. Ray Serve makes one on each node of a hardware class."""

    async def __init__(self, args: dict[str, Any]) -> None:  # type: ignore[misc]
        """Ray Serve waits for it, and takes an old replica away only then: it can answer, or has failed to load."""
        mine = msgspec.convert(args, ReplicaArgs)
        loaded = settings.load(mine.settings).settings
        replica, node = _place()
        self._source = Source(replica, node, platform.node(), mine.hardware_class)
        self._serves = loaded.model or BUNDLED_MODEL
        self._models = NodeModels(loaded, name=loaded.model if mine.canary else None)
        self._weights: dict[str, str] = {}
        self._waiting = 0
        await self._models.start()

    async def generate(self, call: bytes, key: bytes) -> AsyncGenerator[bytes, None]:  # noqa: ARG002
        """The frames of an answer. `key` is for the router."""
        request = to_replica.decode(call)
        attempt = request.message.id
        try:
            async with contextlib.aclosing(in_batches(self._answer(request), request.beat)) as batches:
                async for batch in batches:
                    for source in (item for item in batch if isinstance(item, Source)):
                        yield encode(Started(attempt, source))
                    yield encode(Streamed(attempt, [item for item in batch if isinstance(item, Delta)]))
        except EdgeinferError as e:
            yield encode(Failed(attempt, e.data()))

    async def ask(self, call: bytes, key: bytes) -> bytes:  # noqa: ARG002
        """The only reply to a request. `key` is for the router."""
        request = to_replica.decode(call)
        try:
            return encode(await self._reply(request))
        except EdgeinferError as e:
            return encode(Failed(request.message.id, e.data()))

    async def status(self, waiting: int = 0) -> bytes:
        """What this replica has loaded. `waiting`: requests in the queue of the ingress that asks."""
        self._waiting = waiting
        models = [_status_of(model) for model in self._models.served()]
        return encode(ReplicaStatus(self._source, __version__, models, self._models.names(), self._serves))

    def record_autoscaling_stats(self) -> dict[str, float]:
        """What Ray Serve hands to `ReplicasPerNode`."""
        return {"waiting": self._waiting}

    def record_routing_stats(self) -> dict[str, list[str]]:
        """What Ray Serve hands to `FleetRouter`."""
        return {LOADED_MODELS: [model.name for model in self._models.served()]}

    def check_health(self) -> None:
        """Ray Serve replaces the replica when this raises."""
        health = self._models.default.health
        if health and not health.healthy:
            raise RuntimeError(f"the engine makes no progress: {health.last_exit or health.state}")

    async def __del__(self) -> None:
        """Ray Serve calls this once, when the replica is to end."""
        if models := getattr(self, "_models", None):
            await models.close()

    async def _answer(self, request: Call) -> AsyncGenerator[Source | Delta, None]:
        """Where an answer comes from, and its deltas."""
        message = request.message
        assert isinstance(message, Generate)
        model, info = await self._model(request)
        yield self._source_of(info)
        if message.partial_answers and model.plan and model.plan.backend == "vllm":
            raise NotReady(f"{self._source.node} runs vLLM, which continues no answer of another node's")
        async with self._models.in_turn(model, message.caller, message.n) as client:
            engine: ResumableEngineClient = client  # type: ignore[assignment]
            deltas = engine.generate(
                message.prompt,
                message.params,
                n=message.n,
                add_bos=message.add_bos,
                structured=message.structured,
                accepted_at=time.monotonic() - message.waited_ms / 1e3,
                caller=message.caller,
                cache_domain=message.cache_domain,
                session=message.session,
                partial_answers=message.partial_answers,
            )
            async with contextlib.aclosing(deltas):
                async for delta in deltas:
                    yield delta

    async def _reply(self, request: Call) -> Reply:
        model, info = await self._model(request)
        message = request.message
        if isinstance(message, Describe):
            assert model.plan
            build = model.health.build if model.health else None
            source = self._source_of(info)
            plan = model.plan
            info = replace(info, name=model.name)
            return Described(
                message.id, info, prompt_format(info), source, plan.tool_format, plan.defaults, build
            )
        caller = "" if isinstance(message, Tokenize | Detokenize | Generate) else message.caller
        async with self._models.in_turn(model, caller) as client:
            match message:
                case Tokenize():
                    tokens = await client.tokenize(message.prompt, add_bos=message.add_bos)
                    return Tokenized(message.id, tokens)
                case Detokenize():
                    return Detokenized(message.id, await client.detokenize(message.tokens))
                case Embed():
                    return Embedded(message.id, await client.embed(message.inputs, caller=caller))
                case Rerank():
                    scores = await client.rerank(
                        message.query,
                        message.documents,
                        cut=message.cut,
                        first=message.first,
                        caller=caller,
                    )
                    return Reranked(message.id, scores)
                case Generate():
                    raise TypeError("Generate is answered by a stream")

    async def _model(self, request: Call) -> tuple[ServedModel, ModelInfo]:
        """The model that a request is for.

        Raises:
            ModelReplaced: here it is another one than the request was made for.
        """
        model, info = await self._models.ready(request.model)
        if request.prompt_format not in ("", prompt_format(info)):
            raise ModelReplaced(f"{self._source.node} has another {request.model}", retry_after=1)
        if request.weights not in ("", self._source_of(info).weights):
            raise ModelReplaced(
                f"{self._source.node} has another file of {request.model}: {info.description}", retry_after=1
            )
        return model, info

    def _source_of(self, info: ModelInfo) -> Source:
        key = f"{info.path} {info.revision}"
        if key not in self._weights:
            self._weights[key] = weights_id(info.path)
        return replace(self._source, weights=self._weights[key], description=info.description)


async def in_batches(items: AsyncGenerator[T, None], beat: float) -> AsyncGenerator[list[T], None]:
    """What has come of `items` whenever something has, and an empty list after `beat` seconds without any."""
    pending: list[T] = []
    arrived = asyncio.Event()

    async def read() -> None:
        async with contextlib.aclosing(items):
            async for item in items:
                pending.append(item)
                arrived.set()

    reading = asyncio.create_task(read())
    reading.add_done_callback(lambda _: arrived.set())
    try:
        while True:
            await wait_with_timeout(beat, arrived.wait())
            arrived.clear()
            done, batch = reading.done(), list(pending)
            pending.clear()
            if batch or not done:
                yield batch
            if done:
                reading.result()  # raises what ended it
                return
    finally:
        reading.cancel()
        await asyncio.wait([reading])


def _status_of(model: ServedModel) -> ReplicaModel:
    info = model.info
    return ReplicaModel(
        model.name,
        model.state,
        info.ctx if info else 0,
        info.parallel if info else 0,
        info.description if info else "",
        model.stats,
        model.restarts,
        model.resumed,
    )


def _place() -> tuple[str, str]:
    """The ids of this replica and of its node."""
    import ray
    from ray import serve

    replica = serve.get_replica_context().replica_id.unique_id
    return str(replica), str(ray.get_runtime_context().get_node_id())
