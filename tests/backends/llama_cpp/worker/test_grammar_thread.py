"""The worker's thread that compiles grammars, for which nothing else waits."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from edgeinfer.backends.llama_cpp.messages import (
    Accepted,
    Cancel,
    Failed,
    Generate,
    InFlight,
    Shutdown,
    Step,
    ToDaemon,
    Tokenize,
    Tokenized,
    to_daemon,
    to_worker,
)
from edgeinfer.backends.llama_cpp.worker.process import MAX_SHORT_TEXT, WorkerProcess
from edgeinfer.backends.llama_cpp.worker.runtime import FakeRuntime
from edgeinfer.engine.structured.constraint import Constraint, ConstraintCompiler
from edgeinfer.inference.sampling import SamplingParams
from edgeinfer.inference.structured_output import StructuredOutput
from edgeinfer.inference.types import Span
from edgeinfer.ipc.framing import FrameSocket
from tests.support.constraints import grammar
from tests.support.llama import config

FORMED = grammar(schema={"const": "formed"})


class Slow:
    """A worker in a thread, whose compiler waits for `go`."""

    def __init__(self) -> None:
        self.go, self.compiling = threading.Event(), threading.Event()
        self.compiled: list[str] = []
        ours, theirs = socket.socketpair()
        ours.settimeout(60)
        self.channel: FrameSocket[ToDaemon] = FrameSocket(ours, to_daemon)
        self.other_end = FrameSocket(theirs, to_worker)
        self.worker = WorkerProcess(self.other_end, FakeRuntime(config()))
        self.thread = threading.Thread(target=self.worker.run)
        self.thread.start()

    def compile(self, compiler: ConstraintCompiler, text: str) -> Constraint:
        self.compiling.set()
        assert self.go.wait(60)
        self.compiled.append(text)
        return compile_for_real(compiler, text)

    def texts(self, *ids: int) -> dict[int, str]:
        """The texts of these requests, once all have ended; nothing may come of others."""
        texts, left = dict.fromkeys(ids, ""), set(ids)
        while left:
            message = self.channel.receive()
            if isinstance(message, Accepted | InFlight):
                continue
            assert isinstance(message, Step), message
            for delta in message.deltas:
                texts[delta.id] += delta.text
                left -= {delta.id} if delta.finish else set()
        return texts


compile_for_real = ConstraintCompiler.compile


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Iterator[Slow]:
    worker = Slow()
    monkeypatch.setattr(ConstraintCompiler, "compile", lambda self, text: worker.compile(self, text))
    yield worker
    worker.go.set()
    worker.channel.send(Shutdown())
    worker.thread.join(60)
    assert not worker.thread.is_alive()
    worker.channel.close()
    worker.other_end.close()


def formed(id: int, text: str = FORMED) -> Generate:
    return Generate(id, [Span("hello")], SamplingParams(), structured=StructuredOutput(text))


def test_other_requests_go_on_while_a_grammar_is_compiled(slow: Slow) -> None:
    """Neither the reader nor the engine waits for the compiler."""
    slow.channel.send(formed(1))
    assert slow.compiling.wait(60)
    slow.channel.send(Generate(2, [Span("hello")], SamplingParams(max_tokens=3, ignore_eos=True)))
    assert len(slow.texts(2)[2]) == 3
    slow.channel.send(Tokenize(3, [Span("ab")]))
    assert isinstance(slow.channel.receive(), Tokenized)
    slow.go.set()
    assert slow.texts(1) == {1: '"formed"'}


def test_request_cancelled_while_its_grammar_is_compiled_never_runs(slow: Slow) -> None:
    """A grammar that is still to be compiled is not compiled at all."""
    other = grammar(schema={"const": "other"})
    slow.channel.send(formed(1))
    assert slow.compiling.wait(60)
    slow.channel.send(formed(2, other))
    for id in (1, 2):
        slow.channel.send(Cancel(id))
    slow.channel.send(Tokenize(3, [Span("ab")]))
    assert isinstance(slow.channel.receive(), Tokenized)  # the reader has read that
    slow.channel.send(formed(4))
    slow.go.set()
    assert slow.texts(4) == {4: '"formed"'}
    assert other not in slow.compiled


def test_short_text_does_not_wait_for_long_ones(slow: Slow, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another thread tokenizes those; a request that is cancelled meanwhile never runs."""
    slow.go.set()
    read = threading.Event()
    tokenize = slow.worker._runtime.vocab.tokenize

    def patient(text: str, *, special: bool) -> list[int]:
        if len(text) > MAX_SHORT_TEXT:
            assert read.wait(60)
            return [97]
        return tokenize(text, special=special)

    monkeypatch.setattr(slow.worker._runtime.vocab, "tokenize", patient)
    long = Span("x" * (MAX_SHORT_TEXT + 1))
    slow.channel.send(Tokenize(1, [long]))
    slow.channel.send(Generate(2, [long], SamplingParams(max_tokens=1)))
    slow.channel.send(Cancel(2))
    slow.channel.send(Tokenize(3, [Span("ab")]))
    first = slow.channel.receive()
    assert isinstance(first, Tokenized)
    assert first.id == 3
    read.set()
    second = slow.channel.receive()
    assert isinstance(second, Tokenized)
    assert second.id == 1
    slow.channel.send(formed(4))
    assert slow.texts(4) == {4: '"formed"'}
    assert not slow.worker._preparing


def test_invalid_grammar_fails_its_request(slow: Slow) -> None:
    """Nothing of the request stays."""
    slow.go.set()
    slow.channel.send(formed(1, grammar("start: @missing")))
    failed = slow.channel.receive()
    assert isinstance(failed, Failed)
    assert (failed.id, failed.error.code) == (1, "invalid_value")
    assert not slow.worker._preparing


def test_shutdown_waits_for_the_grammar_that_is_being_compiled(slow: Slow) -> None:
    """The compiler must not use a model that is gone."""
    slow.channel.send(formed(1))
    assert slow.compiling.wait(60)
    slow.channel.send(Shutdown())
    slow.thread.join(0.3)
    assert slow.thread.is_alive()
    slow.go.set()
    slow.thread.join(60)
    assert not slow.thread.is_alive()
