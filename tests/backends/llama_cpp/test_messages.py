"""Every message between daemon and worker survives its way through a frame."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections import Counter
from typing import get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeinfer.backends.llama_cpp.config import LlamaConfig
from edgeinfer.backends.llama_cpp.messages import (
    Accepted,
    Cancel,
    Detokenize,
    Detokenized,
    Embed,
    Embedded,
    Failed,
    Generate,
    InFlight,
    Load,
    LoadProgress,
    LogLine,
    Ping,
    Pong,
    Ready,
    Rerank,
    Reranked,
    Shutdown,
    Step,
    ToDaemon,
    Tokenize,
    Tokenized,
    ToWorker,
    WorkerMessage,
    to_daemon,
    to_worker,
)
from edgeinfer.errors import ErrorData
from edgeinfer.inference.output import (
    ChosenLogprob,
    Delta,
    EngineStats,
    Finish,
    HeldState,
    Logprob,
    PartialAnswer,
    StartTimings,
)
from edgeinfer.inference.sampling import SamplingParams
from edgeinfer.inference.structured_output import UNCONSTRAINED
from edgeinfer.inference.types import Cut, Embeddings, EngineBuild, FimTokens, ModelInfo, Scores, Span, Tokens
from edgeinfer.ipc import framing
from edgeinfer.ipc.framing import FrameSocket

PARAMS = SamplingParams(
    7, 0.5, 3, 0.8, 0.9, 0.1, 1.1, -1, 0.2, 0.3, {5: -100.0, 6: 1.5}, 2**63, ("a", "é"), True, 4
)
INFO = ModelInfo(
    "n",
    "/p",
    "a",
    "d",
    1,
    2,
    3,
    4,
    5,
    6,
    7,
    True,
    False,
    "<s>",
    "",
    ("<s>",),
    {"default": "{{ x }}"},
    {"top_k": 4.0},
    FimTokens(1, 2, 3, None, 5),
)
LOGPROB = ChosenLogprob(Logprob(1, b"\xff", -0.5), [Logprob(2, b"", -1.5)])
FINISH = Finish("stop", 9, 8, 7, "END", 1.5, 2.5, 3.5)
BEGUN = StartTimings(1.5, 2.5, 3)
PENDING = HeldState([4, 5], True, 2**63 - 1, [LOGPROB])
STATS = EngineStats(1, 2, 3, 4)

TO_WORKER: list[ToWorker] = [
    Load(LlamaConfig("m.gguf", "m", layout="unified", kv_type="q8_0", step_ms=12.5)),
    Generate(1, [Span("a", False), 7, Span("é\x00", True)], PARAMS, 3, False),
    Generate(2, [], SamplingParams()),
    Generate(
        3,
        [1],
        PARAMS,
        3,
        True,
        UNCONSTRAINED,
        (None, PartialAnswer(), PartialAnswer([1, 2], BEGUN, PENDING)),
        9.5,
    ),
    Cancel(3),
    Tokenize(4, [Span("a"), Span("b", False)], True),
    Detokenize(5, [1, 2**31 - 1, -1]),
    Rerank(9, "a", ["b", "c"], Cut(5, True), 2, "caller"),
    Embed(6, [[Span("a")], [1, 2], [Span("b", False), 3]]),
    Ping(),
    Shutdown(),
]
BUILD = EngineBuild("0.3.36", ("neon",), ("cuda",), True, "armv8.0_1")
TO_DAEMON: list[ToDaemon] = [
    LoadProgress(0.5),
    Ready(INFO, 1.25, 2.5, stats=EngineStats(cells=4096), build=BUILD),
    Accepted(2),
    InFlight([1, 2]),
    Pong(),
    Step([Delta(1, 0, "é", [1, 2], [LOGPROB]), Delta(1, 2, "", [], None, FINISH)], STATS),
    Step([Delta(1, 0, "a", [1], None, None, BEGUN, PENDING)], STATS),
    Step([], STATS),
    Failed(1, ErrorData("queue_full", "m", "p", "h", 5)),
    Tokenized(1, Tokens([1, 2], [b"a", b"\xff\x00"])),
    Detokenized(2, "\ufffd😀"),
    Reranked(4, Scores([0.5, -1.25], 12)),
    Embedded(3, Embeddings([b"\x00\x00\x80\x3f"], 17)),
    LogLine(30, "llama.cpp", "a line"),
]


def test_every_message_has_an_example() -> None:
    """A message that is added is tested, too."""
    examples = {type(message) for message in (*TO_WORKER, *TO_DAEMON)}
    assert set(WorkerMessage.__subclasses__()) == examples
    assert {*get_args(ToWorker), *get_args(ToDaemon)} == examples


@pytest.mark.parametrize("message", TO_WORKER, ids=lambda m: type(m).__name__)
def test_message_to_the_worker_makes_a_round_trip(message: ToWorker) -> None:
    """It is decoded as it was encoded."""
    assert message == to_worker.decode(framing.encode(message)[framing.HEADER.size :])


@pytest.mark.parametrize("message", TO_DAEMON, ids=lambda m: type(m).__name__)
def test_message_to_the_daemon_makes_a_round_trip(message: ToDaemon) -> None:
    """It is decoded as it was encoded."""
    assert message == to_daemon.decode(framing.encode(message)[framing.HEADER.size :])


@pytest.mark.parametrize("cls", WorkerMessage.__subclasses__())
def test_message_is_frozen(cls: type[WorkerMessage]) -> None:
    """Its holders can rely on it."""
    assert cls.__struct_config__.frozen


@pytest.mark.parametrize("message", TO_DAEMON, ids=lambda m: type(m).__name__)
def test_message_for_the_other_side_is_refused(message: ToDaemon) -> None:
    """The tag says what it is."""
    with pytest.raises(msgspec.ValidationError):
        to_worker.decode(framing.encode(message)[framing.HEADER.size :])


def test_frame_begins_with_its_length() -> None:
    """The length has four bytes, little-endian."""
    frame = framing.encode(Cancel(1))
    assert len(frame) - 4 == int.from_bytes(frame[:4], "little")


async def test_messages_are_read_to_the_end_of_the_stream() -> None:
    """None is the end."""
    stream = asyncio.StreamReader()
    stream.feed_data(b"".join(map(framing.encode, TO_DAEMON)))
    stream.feed_eof()
    for message in TO_DAEMON:
        assert message == await framing.read(stream, to_daemon)
    assert await framing.read(stream, to_daemon) is None


@pytest.mark.parametrize("cut", [1, 4, 6])
async def test_cut_frame_is_the_end(cut: int) -> None:
    """The other side died while it wrote."""
    stream = asyncio.StreamReader()
    stream.feed_data(framing.encode(TO_DAEMON[0])[:cut])
    stream.feed_eof()
    assert await framing.read(stream, to_daemon) is None


def test_frame_socket_reads_frames_however_they_arrive() -> None:
    """A stream has no boundaries between messages."""
    ours, theirs = socket.socketpair()
    channel = FrameSocket(theirs, to_worker)
    data = b"".join(map(framing.encode, TO_WORKER))

    def feed() -> None:
        with ours:
            for byte in data:
                ours.send(bytes([byte]))

    thread = threading.Thread(target=feed)
    thread.start()
    with theirs:
        assert TO_WORKER == [channel.receive() for _ in TO_WORKER]
        assert channel.receive() is None
    thread.join()


def test_frame_socket_sends_whole_frames_from_many_threads() -> None:
    """Frames are not mixed up."""
    ours, theirs = socket.socketpair()
    sender, receiver = FrameSocket(ours, to_daemon), FrameSocket(theirs, to_daemon)
    texts = [str(i) * 3000 for i in range(8)]

    def send(text: str) -> None:
        for _ in range(20):
            sender.send(Detokenized(1, text))

    threads = [threading.Thread(target=send, args=(text,)) for text in texts]
    with ours, theirs:
        for thread in threads:
            thread.start()
        messages = [receiver.receive() for _ in range(160)]
        for thread in threads:
            thread.join()
    assert dict.fromkeys(texts, 20) == Counter(m.text for m in messages if isinstance(m, Detokenized))


@given(st.lists(st.text(), max_size=5), st.lists(st.integers(0, 2**31 - 1), max_size=20))
def test_any_text_and_tokens_make_a_round_trip(texts: list[str], tokens: list[int]) -> None:
    """A client may write any text."""
    message = Generate(1, [*(Span(t, bool(i % 2)) for i, t in enumerate(texts)), *tokens], SamplingParams())
    assert message == to_worker.decode(framing.encode(message)[framing.HEADER.size :])
