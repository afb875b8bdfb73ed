"""Messages between the daemon and a worker, the whole protocol: frozen structs in frames (ipc/framing.py).

The daemon picks the ids. Every `Generate` gets exactly one terminal reply for each of its n answers: a `Delta` with a
`finish`, or one `Failed` for the whole request. Every other request gets one reply with its id.
"""

from __future__ import annotations

import msgspec

from edgeinfer.backends.llama_cpp.config import LlamaConfig
from edgeinfer.errors import ErrorData
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
from edgeinfer.ipc.confinement.confinement import Confinement


class WorkerMessage(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """Base: the class's name is the tag."""


# --- daemon -> worker


class PrefixCacheConfig(msgspec.Struct, frozen=True):
    """A directory for the prefixes of all models, accessible to us alone, and how many MB it may hold."""

    directory: str
    megabytes: int


class Load(WorkerMessage, frozen=True):
    """The first message a worker gets; answered by `Ready`, or by `Failed` with id 0.

    Attributes:
        markers: control tokens to be shown as text, if the model has them, since they mark tool calls or thinking.
        prefix_cache: None saves nothing.
        confine: False leaves the worker all that the daemon's user may do.
    """

    config: LlamaConfig
    markers: tuple[str, ...] = ()
    prefix_cache: PrefixCacheConfig | None = None
    confine: bool = True


class Generate(WorkerMessage, frozen=True):
    """Answer `prompt`, n times.

    Attributes:
        add_bos: put a BOS token first if the model wants one and there is none.
        partial_answers: empty, or for each answer its part that a crashed worker generated; None if it is complete.
        waited_ms: since the request was accepted.
        caller, cache_domain, session: see EngineClient.generate.
        reproducible: compute in steps that do not depend on the machine's speed, see Request.
    """

    id: int
    prompt: Prompt
    params: SamplingParams
    n: int = 1
    add_bos: bool = True
    structured: StructuredOutput = UNCONSTRAINED
    partial_answers: tuple[PartialAnswer | None, ...] = ()
    waited_ms: float = 0.0
    caller: str = ""
    cache_domain: str = ""
    session: str = ""
    reproducible: bool = False


class Cancel(WorkerMessage, frozen=True):
    """Stop all unfinished answers of a request, also inside a prefill. There is no reply."""

    id: int


class Tokenize(WorkerMessage, frozen=True):
    id: int
    prompt: list[Span]
    add_bos: bool = False


class Detokenize(WorkerMessage, frozen=True):
    id: int
    tokens: list[int]


class Embed(WorkerMessage, frozen=True):
    """Embed each input on its own. The vectors in the reply are L2-normalised."""

    id: int
    inputs: list[Prompt]
    caller: str = ""


class Rerank(WorkerMessage, frozen=True):
    """Score each document for the query. `first` is the number of the first document in errors."""

    id: int
    query: str
    documents: list[str]
    cut: Cut = WHOLE
    first: int = 0
    caller: str = ""


class Ping(WorkerMessage, frozen=True):
    """Answered by `Pong` from the engine's thread, between two steps."""


class Shutdown(WorkerMessage, frozen=True):
    """Abandon all requests, free everything, and exit with status 0."""


# --- worker -> daemon


class LoadProgress(WorkerMessage, frozen=True):
    """The share of the model that has been read."""

    share: float


class Ready(WorkerMessage, frozen=True):
    """The model is loaded and has passed its self-test, which estimates the longest step at `step_ms`.

    Attributes:
        confinement: the layers that hold for the worker.
        stats: the engine's figures before its first step.
        build: the library that computes; None for the fake model.
    """

    info: ModelInfo
    load_seconds: float
    step_ms: float = 0.0
    confinement: Confinement = Confinement()
    stats: EngineStats = EngineStats()
    build: EngineBuild | None = None


class Accepted(WorkerMessage, frozen=True):
    """The `Generate` with this id waits in the engine: it cannot crash the worker until it is `InFlight`."""

    id: int


class InFlight(WorkerMessage, frozen=True):
    """The engine computes these requests from now on: if the worker crashes, one of them may be the cause."""

    ids: list[int]


class Pong(WorkerMessage, frozen=True):
    """The engine's loop is running."""


class Step(WorkerMessage, frozen=True):
    """Everything that one engine step produced. Without deltas it still updates the stats."""

    deltas: list[Delta]
    stats: EngineStats


class Failed(WorkerMessage, frozen=True):
    """Request `id` ended in an error; nothing more will come for it."""

    id: int
    error: ErrorData


class Tokenized(WorkerMessage, frozen=True):
    id: int
    tokens: Tokens


class Detokenized(WorkerMessage, frozen=True):
    id: int
    text: str


class Embedded(WorkerMessage, frozen=True):
    id: int
    embeddings: Embeddings


class Reranked(WorkerMessage, frozen=True):
    id: int
    scores: Scores


class LogLine(WorkerMessage, frozen=True):
    """A log record of llama.cpp or the worker; `level` is one of `logging`."""

    level: int
    logger: str
    text: str


ToWorker = Load | Generate | Cancel | Tokenize | Detokenize | Embed | Rerank | Ping | Shutdown
OnlyReply = Tokenized | Detokenized | Embedded | Reranked
"""Replies to requests that have only one."""

ToDaemon = LoadProgress | Ready | Accepted | InFlight | Pong | Step | Failed | OnlyReply | LogLine

to_worker = msgspec.msgpack.Decoder(ToWorker)
to_daemon = msgspec.msgpack.Decoder(ToDaemon)
