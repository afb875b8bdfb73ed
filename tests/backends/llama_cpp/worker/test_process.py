"""The worker process, spoken to as the daemon does."""

from __future__ import annotations

import math
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import msgspec
import pytest

from edgeinfer.backends.llama_cpp.binding.logs import LogCapture
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
    LogLine,
    Ping,
    Pong,
    Ready,
    Shutdown,
    Step,
    ToDaemon,
    Tokenize,
    Tokenized,
    WorkerMessage,
    to_daemon,
)
from edgeinfer.backends.llama_cpp.worker.runtime import FakeRuntime, open_runtime
from edgeinfer.engine.fake import BOS, CONTROL, END
from edgeinfer.errors import EdgeinferError
from edgeinfer.inference.output import EngineStats, Finish, PartialAnswer, StartTimings
from edgeinfer.inference.sampling import SamplingParams
from edgeinfer.inference.types import Prompt, Span
from edgeinfer.ipc.framing import FrameSocket
from edgeinfer.ipc.start_signal import send_start
from tests.support.engine import plain
from tests.support.llama import config

TIMEOUT = 60.0
"""Seconds after which a test gives up. It says nothing about how fast a reply is: the machine may be busy."""

M = TypeVar("M", bound=ToDaemon)
FAKE = config(ctx=2048, batch=512)


class Process:
    """A worker process, and the daemon's end of its socket, read without asyncio."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair()
        self._socket.settimeout(TIMEOUT)
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "edgeinfer.backends.llama_cpp.worker.process", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stderr=subprocess.PIPE,
            )
        send_start(self._socket)
        self.channel: FrameSocket[ToDaemon] = FrameSocket(self._socket, to_daemon)

    def send(self, message: WorkerMessage) -> None:
        self.channel.send(message)

    def receive(self, kind: type[M]) -> M:
        """The next message of this kind."""
        while not isinstance(message := self.channel.receive(), kind):
            assert message is not None, f"the worker ended, and no {kind.__name__} came"
        return message

    def answer(self, *ids: int) -> dict[int, str]:
        """The texts of these requests, one answer each, once all have ended."""
        texts, left = dict.fromkeys(ids, ""), set(ids)
        while left:
            for delta in self.receive(Step).deltas:
                texts[delta.id] += delta.text
                left -= {delta.id} if delta.finish else set()
        return texts

    def leave(self) -> None:
        """Close the daemon's end of the socket, as its death does."""
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def wait(self) -> int:
        return self.process.wait(TIMEOUT)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()
        self.channel.close()


@pytest.fixture
def empty() -> Iterator[Process]:
    """A worker that has not been told what to load."""
    process = Process()
    yield process
    process.close()


@pytest.fixture
def worker(empty: Process) -> Process:
    """A worker with the fake model."""
    empty.send(Load(FAKE))
    empty.receive(Ready)
    return empty


@pytest.fixture(scope="module")
def shared() -> Iterator[Process]:
    """A worker with the fake model, for tests that leave nothing behind."""
    process = Process()
    process.send(Load(FAKE))
    process.receive(Ready)
    yield process
    process.close()


@pytest.fixture
def slow(empty: Process) -> Process:
    """A worker whose model takes 5 ms a token."""
    empty.send(Load(msgspec.structs.replace(FAKE, model="fake:5")))
    empty.receive(Ready)
    return empty


def generate(id: int, prompt: str, n: int = 1, **params: object) -> Generate:
    sampling = msgspec.convert({"seed": 1000, "temperature": 0.8} | params, SamplingParams)
    return Generate(id, [Span(prompt, False)], sampling, n, False)


def test_worker_loads_a_model_and_describes_it(empty: Process) -> None:
    """`Ready` comes once the model can answer."""
    empty.send(Load(FAKE))
    ready = empty.receive(Ready)
    assert ("fake", 2048, 8, 258) == (
        ready.info.name,
        ready.info.ctx,
        ready.info.parallel,
        ready.info.vocab_size,
    )
    assert ready.load_seconds >= 0


def test_worker_answers_several_requests_at_once(worker: Process) -> None:
    """Each answer is that of the plain loop, and ends once."""
    prompts = {id: f"request {id}" for id in range(1, 11)}
    for id, prompt in prompts.items():
        worker.send(generate(id, prompt))
    expected = {id: plain(p, ctx=2048, temperature=0.8) for id, p in prompts.items()}
    assert expected == worker.answer(*prompts)


def test_each_of_n_answers_ends_once(worker: Process) -> None:
    """Nothing comes after that: the next message belongs to the next request."""
    worker.send(generate(1, "hello", n=4, max_tokens=5))
    finishes: list[Finish] = []
    while len(finishes) < 4:
        finishes += [d.finish for d in worker.receive(Step).deltas if d.finish]
    worker.send(generate(2, "hello", max_tokens=2, ignore_eos=True))
    seen: set[int] = set()
    while 2 not in seen:
        step = worker.receive(Step)
        assert {1} != {d.id for d in step.deltas}
        seen |= {d.id for d in step.deltas if d.finish}


def test_prompt_consists_of_texts_and_tokens(shared: Process) -> None:
    """Control tokens are recognised only in trusted texts; BOS comes first where the model wants one."""
    spans = [Span(CONTROL[END], True), Span(CONTROL[END], False)]
    shared.send(Tokenize(1, spans, add_bos=True))
    tokens = shared.receive(Tokenized).tokens
    assert [BOS, END, *CONTROL[END].encode()] == tokens.ids
    assert CONTROL[BOS].encode() + 2 * CONTROL[END].encode() == b"".join(tokens.pieces)
    shared.send(Tokenize(2, spans))
    assert [END, *CONTROL[END].encode()] == shared.receive(Tokenized).tokens.ids


def test_bos_is_not_added_twice(shared: Process) -> None:
    """Chat templates often write it themselves."""
    shared.send(Tokenize(1, [Span(CONTROL[BOS] + "a")], add_bos=True))
    assert [BOS, ord("a")] == shared.receive(Tokenized).tokens.ids


def test_empty_text_before_tokens_adds_bos(worker: Process) -> None:
    """A prompt that begins with a token gets none."""
    params = SamplingParams(max_tokens=1, ignore_eos=True)
    prompts: list[Prompt] = [[Span("", trusted=False), 97, Span("b")], [97, Span("b")]]
    counts = []
    for prompt in prompts:
        worker.send(Generate(1, prompt, params))
        while not (finishes := [d.finish for d in worker.receive(Step).deltas if d.finish]):
            pass
        counts.append(finishes[0].prompt_tokens)
    assert [3, 2] == counts


@pytest.mark.parametrize(("add_bos", "n"), [(True, 6), (False, 5)])
def test_prompt_gets_a_bos_if_add_bos_says_so(worker: Process, add_bos: bool, n: int) -> None:
    """The count of the prompt's tokens shows it."""
    worker.send(Generate(1, [Span("hello")], SamplingParams(max_tokens=1, ignore_eos=True), 1, add_bos))
    assert [] == worker.receive(Step).deltas  # it is queued
    (delta,) = worker.receive(Step).deltas
    assert delta.finish
    assert n == delta.finish.prompt_tokens


def test_tokens_are_detokenized(shared: Process) -> None:
    """Control tokens are shown, and broken characters are replaced."""
    shared.send(Detokenize(1, [BOS, *"é".encode(), 0xFF]))
    assert CONTROL[BOS] + "é\ufffd" == shared.receive(Detokenized).text


def test_vectors_are_normalised_and_in_order(shared: Process) -> None:
    """They are little-endian float32, and tokens are counted."""
    shared.send(Embed(1, [[Span("aab")], [98, 98], [Span("a"), 97]]))
    embeddings = shared.receive(Embedded).embeddings
    assert 7 == embeddings.tokens
    rows = [msgspec.convert(list(memoryview(v).cast("f")), list[float]) for v in embeddings.vectors]
    assert [258] * 3 == [len(row) for row in rows]
    assert [pytest.approx(1)] * 3 == [math.sqrt(sum(x * x for x in row)) for row in rows]
    assert [pytest.approx(2 / math.sqrt(5)), 0, pytest.approx(1)] == [row[97] for row in rows]


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (generate(7, ""), "invalid_value"),
        (generate(7, "x" * 2048), "context_length_exceeded"),
        (Generate(7, [1, 258], SamplingParams()), "invalid_value"),
        (Generate(7, [-1], SamplingParams()), "invalid_value"),
        (Detokenize(7, [1, 258]), "invalid_value"),
        (Detokenize(7, [-1]), "invalid_value"),
        (Embed(7, [[Span("")]]), "invalid_value"),
        (Embed(7, [[Span("a")], [300]]), "invalid_value"),
    ],
    ids=lambda v: v if isinstance(v, str) else type(v).__name__,
)
def test_bad_request_fails_alone(shared: Process, message: WorkerMessage, code: str) -> None:
    """It gets one `Failed`; the worker goes on."""
    shared.send(message)
    failed = shared.receive(Failed)
    assert (7, code) == (failed.id, failed.error.code)
    shared.send(Detokenize(8, [97]))
    assert Detokenized(8, "a") == shared.receive(Detokenized)


def test_request_cancelled_inside_its_prefill_stops_at_once(slow: Process) -> None:
    """Its first chunk alone would take 2.5 s: it is never finished, and the next request is served."""
    slow.send(generate(1, "x" * 2000))
    slow.send(Tokenize(2, [Span("a")]))
    slow.receive(Tokenized)  # the reader has read the request
    slow.send(Cancel(1))
    slow.send(generate(3, "hello", max_tokens=1, ignore_eos=True))
    step = slow.receive(Step)
    while not step.deltas:
        step = slow.receive(Step)
    assert [3] == [delta.id for delta in step.deltas]
    assert 5 == step.stats.prompt_tokens_total


def test_stats_follow_the_cancel_of_the_last_request(slow: Process) -> None:
    """A `Step` without deltas comes when the engine falls idle."""
    slow.send(generate(1, "hello", ignore_eos=True))
    slow.receive(Step)
    slow.send(Cancel(1))
    while (stats := slow.receive(Step).stats).running:
        pass
    assert (0, 0, 0) == (stats.running, stats.waiting, stats.cells_used)


def test_tokenizing_does_not_wait_for_the_engine(slow: Process) -> None:
    """The reader's thread answers while a long prompt is computed."""
    slow.send(generate(1, "x" * 2000))
    slow.send(Tokenize(2, [Span("ab")]))
    assert [97, 98] == slow.receive(Tokenized).tokens.ids
    slow.send(Cancel(1))


def test_stats_come_with_every_step(worker: Process) -> None:
    """They also come when a request is queued; at the end they are those of an idle engine."""
    worker.send(generate(1, "hello", max_tokens=3, ignore_eos=True))
    stats: list[EngineStats] = []
    while not stats or stats[-1].completion_tokens_total < 3:
        stats.append(worker.receive(Step).stats)
    assert [0, 1, 2, 3] == [s.completion_tokens_total for s in stats]
    assert (0, 5) == (stats[-1].running, stats[-1].prompt_tokens_total)


def test_pong_comes_from_the_engine(slow: Process) -> None:
    """It comes between two steps, not during one, and when there is nothing to compute."""
    slow.send(Ping())
    slow.receive(Pong)
    slow.send(generate(1, "x" * 400, max_tokens=1))
    slow.receive(InFlight)
    slow.send(Ping())
    assert (delta := slow.receive(Step)).deltas
    assert delta.deltas[0].finish
    slow.receive(Pong)


def test_answers_go_on_between_the_chunks_of_inputs(slow: Process) -> None:
    """The engine has as much of the time as the embeddings have."""
    slow.send(Generate(1, [Span("x")], SamplingParams(max_tokens=1000, ignore_eos=True)))
    slow.receive(Step)
    slow.send(Embed(2, [[5] * 150] * 2))
    steps = 0
    while not isinstance(message := slow.channel.receive(), Embedded):
        steps += isinstance(message, Step) and bool(message.deltas)
    assert 20 <= steps


def test_pongs_come_between_inputs_to_embed(empty: Process, model_file: Path) -> None:
    """Many inputs take long."""
    empty.send(Load(LlamaConfig(str(model_file), "real", ctx=256, parallel=1, cells=512, batch=64)))
    assert empty.receive(Ready).step_ms > 0
    empty.send(Embed(1, [[5] * 20, [6], [7]]))
    for _ in range(3):
        empty.receive(Pong)
    assert 3 == len(empty.receive(Embedded).embeddings.vectors)


def test_worker_names_the_requests_in_flight(slow: Process) -> None:
    """It does so before it computes them: a request that crashes it has been named."""
    slow.send(generate(1, "hello", max_tokens=2, ignore_eos=True))
    assert 1 == slow.receive(Accepted).id
    assert [1] == slow.receive(InFlight).ids
    slow.receive(Step)
    slow.send(generate(2, "hello", max_tokens=40, ignore_eos=True))
    slow.send(generate(3, "hello", max_tokens=40, ignore_eos=True))
    while slow.receive(InFlight).ids != [2, 3]:
        pass


def test_waiting_request_is_not_in_flight(empty: Process) -> None:
    """All places are taken."""
    empty.send(Load(msgspec.structs.replace(FAKE, model="fake:5", parallel=2)))
    empty.receive(Ready)
    for id in (1, 2):
        empty.send(generate(id, "hello", max_tokens=60, ignore_eos=True))
    while empty.receive(InFlight).ids != [1, 2]:
        pass
    empty.send(generate(3, "hello", max_tokens=1, ignore_eos=True))
    assert 3 == empty.receive(Accepted).id
    empty.send(Cancel(1))
    assert [2, 3] == empty.receive(InFlight).ids


def test_partial_answer_is_continued(worker: Process) -> None:
    """No part of it is sent again."""
    whole = plain("hello", ctx=2048, temperature=0.8, max_tokens=20, ignore_eos=True, seed=1002)
    assert len(whole) == 20  # all are visible
    request = generate(1, "hello", max_tokens=20, ignore_eos=True, seed=1002)
    partial = PartialAnswer(list(whole[:9].encode()), StartTimings(1.0, 2.0, 3))
    worker.send(msgspec.structs.replace(request, partial_answers=(partial,)))
    assert whole[9:] == worker.answer(1)[1]


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="Linux alone lets a process choose its CPUs")
def test_worker_is_pinned_to_its_cpus_with_all_threads(empty: Process, model_file: Path) -> None:
    """llama.cpp's threads are started after that."""
    cpu = max(os.sched_getaffinity(0))
    real = LlamaConfig(
        str(model_file), "real", ctx=256, parallel=1, cells=512, batch=64, threads=2, cpus=(cpu,)
    )
    empty.send(Load(real))
    empty.receive(Ready)
    threads = [int(path.name) for path in Path(f"/proc/{empty.process.pid}/task").iterdir()]
    assert len(threads) > 1
    assert [{cpu}] * len(threads) == [os.sched_getaffinity(thread) for thread in threads]


def test_worker_works_without_the_cpus_of_its_plan(empty: Process) -> None:
    """A plan may be older than the machine."""
    empty.send(Load(msgspec.structs.replace(FAKE, cpus=(4000,))))
    if hasattr(os, "sched_setaffinity"):
        assert "4000" in empty.receive(LogLine).text
    empty.receive(Ready)


def test_shutdown_ends_the_process(slow: Process) -> None:
    """Running requests are not finished."""
    slow.send(generate(1, "x" * 100, ignore_eos=True))
    slow.receive(Step)
    slow.send(Shutdown())
    assert 0 == slow.wait()


def test_idle_worker_ends_with_the_daemon(worker: Process) -> None:
    """No orphan keeps a model in memory."""
    worker.leave()
    worker.wait()


def test_busy_worker_ends_with_the_daemon(slow: Process) -> None:
    """It does so in the middle of a prefill, too."""
    slow.send(generate(1, "x" * 2000))
    slow.leave()
    slow.wait()


def test_worker_without_a_model_ends_with_the_daemon(empty: Process) -> None:
    """It has not been told what to load."""
    empty.leave()
    empty.wait()


def test_first_message_must_be_load(empty: Process) -> None:
    """Anything else is a bug, and ends the worker."""
    empty.send(Cancel(1))
    assert 0 != empty.wait()


def test_worker_ignores_ctrl_c(worker: Process) -> None:
    """The signal goes to the whole group; the daemon decides."""
    worker.process.send_signal(signal.SIGINT)
    worker.send(Detokenize(1, [97]))
    assert "a" == worker.receive(Detokenized).text


@pytest.mark.parametrize("content", [None, b"", b"GGUF\x03\x00\x00\x00", b"no model"], ids=str)
def test_model_that_does_not_load_fails_with_the_reason(
    empty: Process, content: bytes | None, tmp_path: Path
) -> None:
    """It is a `Failed` with id 0; llama.cpp's own words are logged, and the process ends."""
    path = tmp_path / "m.gguf"
    if content is not None:
        path.write_bytes(content)
    empty.send(Load(msgspec.structs.replace(FAKE, model=str(path))))
    logged: list[LogLine] = []
    while not isinstance(message := empty.channel.receive(), Failed):
        assert isinstance(message, LogLine)
        logged.append(message)
    assert (0, "model_load_failed") == (message.id, message.error.code)
    assert str(path) in message.error.message
    assert any(line.level >= 40 and line.text in message.error.message for line in logged)
    assert 0 != empty.wait()


def test_fake_model_with_a_bad_name_is_refused(empty: Process) -> None:
    """fake:MS wants a number."""
    empty.send(Load(msgspec.structs.replace(FAKE, model="fake:slow")))
    assert "model_load_failed" == empty.receive(Failed).error.code


def test_real_model_answers_in_a_worker(empty: Process, model_file: Path) -> None:
    """It loads, passes its self-test, tokenizes, generates and embeds."""
    real = LlamaConfig(str(model_file), "real", ctx=256, parallel=2, cells=768, batch=128, threads=1)
    empty.send(Load(real))
    info = empty.receive(Ready).info
    assert (True, str(model_file.resolve())) == (info.generates, info.path)
    empty.send(generate(1, "Hello", max_tokens=8, ignore_eos=True, temperature=0))
    empty.send(generate(2, "Hello", max_tokens=8, ignore_eos=True, temperature=0))
    texts = empty.answer(1, 2)
    assert texts[1] == texts[2]
    empty.send(Tokenize(3, [Span("Hello there", False)]))
    tokens = empty.receive(Tokenized).tokens.ids
    empty.send(Detokenize(4, tokens))
    assert "Hello there" == empty.receive(Detokenized).text
    empty.send(Embed(5, [[Span("Hello")], [Span("Hello")]]))
    first, second = empty.receive(Embedded).embeddings.vectors
    assert first == second
    assert info.n_embd * 4 == len(first)
    empty.send(Shutdown())
    assert 0 == empty.wait()


def test_missing_model_file_is_an_edgeinfer_error(llama_log: LogCapture) -> None:
    """Callers know what to catch."""
    with pytest.raises(EdgeinferError):
        open_runtime(LlamaConfig("/no/such/file.gguf", "none"))
    llama_log.install()


def test_fake_runtime_describes_itself() -> None:
    """It generates and embeds, and knows its control tokens."""
    runtime = open_runtime(FAKE)
    assert isinstance(runtime, FakeRuntime)
    assert (True, tuple(CONTROL.values())) == (runtime.info.generates, runtime.info.control_tokens)
    assert [97, BOS, 5] == runtime.embed_tokens([Span("a"), Span(CONTROL[BOS]), 5])
    runtime.close()
