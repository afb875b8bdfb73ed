"""The whole protocol between the daemon and a worker: frozen structs, msgpack frames.

A frame is a 4-byte little-endian length and then one encoded message (`ipc/framing.py`). The daemon picks
the ids. Every `Generate` gets exactly one terminal reply for each of its n answers: a `Delta` with a
`finish`, or one `Failed` for the whole request. Every other request gets one reply with its id.
"""

from __future__ import annotations

import msgspec

from edgeinfer.backends.llama_cpp.config import LlamaConfig
from edgeinfer.errors import ErrorData
from edgeinfer.inference.output import Delta, EngineStats, PartialAnswer
from edgeinfer.inference.sampling import SamplingParams
from edgeinfer.inference.structured_output import UNCONSTRAINED, StructuredOutput
from edgeinfer.inference.types import Embeddings, ModelInfo, Prompt, Span, Tokens


class Message(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """Base: the class's name is the tag."""


# --- daemon -> worker


class PrefixCacheConfig(msgspec.Struct, frozen=True):
    """A directory for prompt prefixes, accessible to us alone, and how many MB it may hold."""

    directory: str
    megabytes: int


class Load(Message, frozen=True):
    """The first message a worker gets; answered by `Ready`, or by `Failed` with id 0.

    Attributes:
        markers: control tokens which are text here, if the model has them, because they mark tool calls or thinking.
        prefix_cache: None saves nothing.
    """

    config: LlamaConfig
    markers: tuple[str, ...] = ()
    prefix_cache: PrefixCacheConfig | None = None


class Generate(Message, frozen=True):
    """Answer `prompt`, n times.

    Attributes:
        add_bos: put a BOS token first if the model wants one and it is not there.
        produced: empty, or for each answer what a worker that died has written of it; None: it is complete.
        waited_ms: since the request was accepted.
    """

    id: int
    prompt: Prompt
    params: SamplingParams
    n: int = 1
    add_bos: bool = True
    structured: StructuredOutput = UNCONSTRAINED
    produced: tuple[PartialAnswer | None, ...] = ()
    waited_ms: float = 0.0


class Cancel(Message, frozen=True):
    """Stop all answers of a request, also inside a prefill; answered by nothing."""

    id: int


class Tokenize(Message, frozen=True):
    id: int
    prompt: list[Span]
    add_bos: bool = False


class Detokenize(Message, frozen=True):
    id: int
    tokens: list[int]


class Embed(Message, frozen=True):
    """Embed each input on its own. Vectors come back L2-normalised."""

    id: int
    inputs: list[Prompt]


class Ping(Message, frozen=True):
    """Answered by `Pong` from the thread of the engine, between two steps."""


class Shutdown(Message, frozen=True):
    """Finish nothing, free everything, exit 0."""


# --- worker -> daemon


class Ready(Message, frozen=True):
    """The model is loaded and has answered a self-test, by which its longest step takes `step_ms`."""

    info: ModelInfo
    load_seconds: float
    step_ms: float = 0.0


class Accepted(Message, frozen=True):
    """`Generate` with this id has been read and waits in the engine: it can do no harm until it is `InFlight`."""

    id: int


class InFlight(Message, frozen=True):
    """From now on the engine may touch these requests: if the worker dies, it was at work on them."""

    ids: list[int]


class Pong(Message, frozen=True):
    """The engine's thread goes round."""


class Step(Message, frozen=True):
    """Everything one engine step produced. Without deltas it still brings the figures up to date."""

    deltas: list[Delta]
    stats: EngineStats


class Failed(Message, frozen=True):
    """Request `id` ended in an error; nothing more will come for it."""

    id: int
    error: ErrorData


class Tokenized(Message, frozen=True):
    id: int
    tokens: Tokens


class Detokenized(Message, frozen=True):
    id: int
    text: str


class Embedded(Message, frozen=True):
    id: int
    embeddings: Embeddings


class LogLine(Message, frozen=True):
    """A line from llama.cpp or the worker, at a `logging` level."""

    level: int
    logger: str
    text: str


ToWorker = Load | Generate | Cancel | Tokenize | Detokenize | Embed | Ping | Shutdown
ToDaemon = Ready | Accepted | InFlight | Pong | Step | Failed | Tokenized | Detokenized | Embedded | LogLine

to_worker = msgspec.msgpack.Decoder(ToWorker)
to_daemon = msgspec.msgpack.Decoder(ToDaemon)
