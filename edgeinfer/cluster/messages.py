"""Messages between the ingress and the replicas: frozen structs, as MessagePack. Nothing is pickled.

A request is one of those that a worker gets, and its reply is the worker's. `Generate` is answered by a stream: a
`Started`, then ``Streamed`s until each answer has had its finish; any request may be answered by `Failed`.
"""

from __future__ import annotations

import msgspec

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
from edgeinfer.inference.output import Delta, EngineStats
from edgeinfer.inference.types import EngineBuild, ModelInfo
from edgeinfer.store.sampling_defaults import SamplingDefaults


class Source(msgspec.Struct, frozen=True):
    """The replica that an answer comes from.

    Attributes:
        replica: its id.
        node_id: Ray's id of its node.
        node: the name of its machine.
        hardware_class: the class of that machine.
        weights: identifies the content of its model file, see `weights_id`.
        description: of the model, with its quantization.
    """

    replica: str
    node_id: str
    node: str
    hardware_class: str
    weights: str = ""
    description: str = ""


class FleetMessage(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """Base: the class's name is the tag, as in the messages of workers."""


class Describe(FleetMessage, frozen=True):
    """Load the model if need be, and tell what it is. Answered by `Described`."""

    id: int


class Described(FleetMessage, frozen=True):
    """What a replica has under the name of a model.

    Attributes:
        tool_format, defaults: those of its plan.
        prompt_format: identifies what prompts depend on, see `prompt_format`.
    """

    id: int
    info: ModelInfo
    prompt_format: str
    source: Source
    tool_format: str | None = None
    defaults: SamplingDefaults = SamplingDefaults()
    build: EngineBuild | None = None


class Started(FleetMessage, frozen=True):
    """A replica has taken the request. `attempt` is the id of the `Generate`."""

    attempt: int
    source: Source


class Streamed(FleetMessage, frozen=True):
    """What has been computed since the last one. Without deltas it is a sign of life."""

    attempt: int
    deltas: list[Delta]


class Call(msgspec.Struct, frozen=True, array_like=True):
    """A request to a replica.

    Attributes:
        model: the name that requests use.
        prompt_format: the one that prompts were made for; "" accepts any.
        weights: the only model file that may answer; "" accepts any.
        beat: seconds between two signs of life.
    """

    model: str
    message: Generate | Tokenize | Detokenize | Embed | Rerank | Describe
    prompt_format: str = ""
    weights: str = ""
    beat: float = 2.0


class ReplicaModel(msgspec.Struct, frozen=True):
    """A model that a replica has loaded.

    Attributes:
        ctx, parallel: tokens of one conversation, and answers at once.
    """

    name: str
    state: str
    ctx: int = 0
    parallel: int = 0
    description: str = ""
    stats: EngineStats = EngineStats()
    restarts: int = 0
    resumed: int = 0


class ReplicaStatus(msgspec.Struct, frozen=True):
    """What a replica has loaded, and what it could load.

    Attributes:
        serves: the model that it was told to serve, as its settings name it.
    """

    source: Source
    version: str
    models: list[ReplicaModel] = []
    installed: list[str] = []
    serves: str = ""


Reply = Tokenized | Detokenized | Embedded | Reranked | Described | Failed
Frame = Started | Streamed | Failed

encode = msgspec.msgpack.Encoder().encode
to_replica = msgspec.msgpack.Decoder(Call)
to_ingress = msgspec.msgpack.Decoder(Reply)
to_stream = msgspec.msgpack.Decoder(Frame)
to_status = msgspec.msgpack.Decoder(ReplicaStatus)
