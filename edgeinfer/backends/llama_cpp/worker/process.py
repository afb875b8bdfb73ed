"""The worker: a process that owns one model and answers the daemon's messages.

Run as `python -m edgeinfer.backends.llama_cpp.worker.process FD`, where FD is its end of a socketpair. Three threads: one reads
messages, tokenizes, and cuts a running prefill short when its request is cancelled; one compiles grammars; the
main one steps the engine, and blocks while there is nothing to do. With the socket ends the process.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import queue
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

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
    PrefixCacheConfig,
    Ready,
    Shutdown,
    Step,
    Tokenize,
    Tokenized,
    ToWorker,
    to_worker,
)
from edgeinfer.backends.llama_cpp.worker.affinity import keep_to
from edgeinfer.backends.llama_cpp.worker.prefix_store import load, save
from edgeinfer.backends.llama_cpp.worker.prompts import PromptTokenizer
from edgeinfer.backends.llama_cpp.worker.runtime import Runtime, open_runtime
from edgeinfer.engine.engine import Engine
from edgeinfer.engine.sequence import Request
from edgeinfer.engine.structured.constraint import Constraint
from edgeinfer.errors import EdgeinferError, InvalidRequest, ModelLoadFailed
from edgeinfer.inference.types import Embeddings, Tokens
from edgeinfer.ipc.framing import FrameSocket

log = logging.getLogger("edgeinfer.worker")

Job = Request | Cancel | Ping | tuple[int, list[list[int]]] | None
"""For the engine's thread: a request, a cancellation, the daemon's ping, inputs to embed, or the end."""

M = TypeVar("M", bound=ToWorker)


class WorkerLog(logging.Handler):
    """Log records become messages to the daemon, which writes all logs."""

    def __init__(self, channel: FrameSocket[ToWorker]) -> None:
        super().__init__()
        self._channel = channel

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._channel.send(LogLine(record.levelno, record.name, self.format(record)))
        except OSError:
            os._exit(1)  # nobody is left to read it


class WorkerProcess:
    """One loaded model at work. `run` returns when the daemon says so or is gone."""

    def __init__(
        self, channel: FrameSocket[ToWorker], runtime: Runtime, prefix_cache: PrefixCacheConfig | None = None
    ) -> None:
        self._channel = channel
        self._prefix_cache = prefix_cache
        self._runtime = runtime
        self._engine = Engine(runtime.backend, runtime.config, time.monotonic) if runtime.backend else None
        self._jobs: queue.SimpleQueue[Job] = queue.SimpleQueue()
        self._prompts = PromptTokenizer(runtime)
        self._grammars = ThreadPoolExecutor(1, "grammars")
        self._awaited: set[int] = set()  # constrained requests that the engine has yet to take
        self._embeds: list[tuple[int, list[list[int]]]] = []
        self._at_work: frozenset[int] = frozenset()  # as the daemon knows it
        self._ended = False

    def run(self) -> None:
        threading.Thread(target=self._read, name="reader", daemon=True).start()
        if self._engine:
            self._grammars.submit(self._engine.constraint_compiler.load)
            if self._prefix_cache:
                tokens = load(self._prefix_cache, self._runtime.config, self._engine.cache, self._go_round)
                log.info("%d tokens of prompts are there from before", tokens)
        while not self._ended:
            self._take_jobs()
            if self._engine and self._engine.has_work:
                self._step(self._engine)
            if self._embeds:
                self._embed(*self._embeds.pop(0))
        self._grammars.shutdown(cancel_futures=True)  # it must not use a model that is gone
        if self._prefix_cache and self._engine:
            save(self._prefix_cache, self._runtime.config, self._engine.cache)

    # --- the reader's thread

    def _read(self) -> None:
        while (message := self._channel.receive()) is not None and not isinstance(message, Shutdown):
            self._answer(message, self._receive)
        self._jobs.put(None)
        if message is None:  # the daemon is gone; nobody waits for a tidy end
            os._exit(0)

    def _answer(self, message: M, receive: Callable[[M], None]) -> None:
        try:
            receive(message)
        except EdgeinferError as e:
            self._channel.send(Failed(getattr(message, "id", 0), e.data()))
        except Exception as e:
            log.exception("%s failed", type(message).__name__)
            self._channel.send(Failed(getattr(message, "id", 0), EdgeinferError(str(e)).data()))

    def _receive(self, message: ToWorker) -> None:
        vocab = self._runtime.vocab
        match message:
            case Generate():
                if self._engine is None:
                    hint = "use /v1/embeddings"
                    raise InvalidRequest("this model can only embed", param="model", hint=hint)
                if message.structured.grammar is None:
                    self._generate(message, None)
                else:
                    self._awaited.add(message.id)
                    self._grammars.submit(self._answer, message, self._compile)
            case Cancel():
                self._awaited.discard(message.id)
                self._jobs.put(message)
                if self._engine:
                    self._engine.abort_prefill(message.id)
            case Tokenize():
                tokens = self._prompts.tokens(message.prompt, add_bos=message.add_bos)
                pieces = [vocab.piece(t, special=True) for t in tokens]
                self._channel.send(Tokenized(message.id, Tokens(tokens, pieces)))
            case Detokenize():
                self._prompts.check(message.tokens)
                text = vocab.detokenize(message.tokens).decode("utf-8", "replace")
                self._channel.send(Detokenized(message.id, text))
            case Ping():
                self._jobs.put(message)
            case Embed():
                self._jobs.put((message.id, [self._prompts.embedded(i) for i in message.inputs]))
            case _:
                raise InvalidRequest(f"unexpected message {type(message).__name__}")

    def _generate(self, message: Generate, constraint: Constraint | None) -> None:
        tokens = self._prompts.tokens(message.prompt, add_bos=message.add_bos)
        request = Request(
            message.id,
            tokens,
            message.params,
            message.n,
            message.structured,
            constraint,
            message.produced,
            message.waited_ms,
        )
        self._jobs.put(request)

    # --- the grammars' thread: a schema may take a second to compile

    def _compile(self, message: Generate) -> None:
        grammar = message.structured.grammar
        if self._engine and grammar is not None and message.id in self._awaited:
            self._generate(message, self._engine.constraint_compiler.compile(grammar))

    # --- the engine's thread

    def _take_jobs(self) -> None:
        """All jobs that are there; waits for one if there is nothing else to do."""
        busy = self._embeds or (self._engine and self._engine.has_work)
        try:
            job = self._jobs.get(block=not busy)
            while True:
                self._take(job)
                job = self._jobs.get_nowait()
        except queue.Empty:
            pass

    def _take(self, job: Job) -> None:
        match job:
            case None:
                self._ended = True
            case Cancel():
                if self._engine:
                    self._cancel(self._engine, job.id)
                self._embeds = [e for e in self._embeds if e[0] != job.id]
            case Request():
                if job.constraint is None or job.id in self._awaited:  # else it was cancelled
                    self._add(job)
                self._awaited.discard(job.id)
            case Ping():
                self._channel.send(Pong())
            case embed:
                self._embeds.append(embed)

    def _cancel(self, engine: Engine, id: int) -> None:
        had_work = engine.has_work
        engine.cancel(id)
        if had_work and not engine.has_work:  # no step will come to say so
            self._channel.send(Step([], engine.stats()))

    def _add(self, request: Request) -> None:
        assert self._engine is not None
        try:
            self._engine.add(request)
        except EdgeinferError as e:
            self._channel.send(Failed(request.id, e.data()))
        else:
            self._channel.send(Accepted(request.id))
            self._channel.send(Step([], self._engine.stats()))  # its first step may take seconds

    def _step(self, engine: Engine) -> None:
        if engine.in_flight != self._at_work:
            self._at_work = engine.in_flight
            self._channel.send(InFlight(sorted(self._at_work)))
        deltas = engine.step()
        for id, error in engine.failures:
            self._channel.send(Failed(id, error))
        engine.failures.clear()
        self._channel.send(Step(deltas, engine.stats()))

    def _embed(self, id: int, inputs: list[list[int]]) -> None:
        try:
            rows = self._runtime.embed(inputs, self._go_round)
            vectors = [row.astype("<f4").tobytes() for row in rows]
            self._channel.send(Embedded(id, Embeddings(vectors, sum(map(len, inputs)))))
        except EdgeinferError as e:
            self._channel.send(Failed(id, e.data()))

    def _go_round(self) -> None:
        """The daemon waits for a sign of life, and many inputs take their time."""
        self._channel.send(Pong())


def serve(channel: FrameSocket[ToWorker]) -> int:
    """Load what the first message says, then work; -> exit status."""
    asked = channel.receive()
    if not isinstance(asked, Load):
        return 1
    started = time.monotonic()
    keep_to(asked.config.cpus)
    try:
        runtime = open_runtime(asked.config, asked.markers)
    except EdgeinferError as e:
        channel.send(Failed(0, e.data()))
        return 1
    except Exception as e:
        log.exception("loading failed")
        channel.send(Failed(0, ModelLoadFailed(f"{asked.config.model}: {str(e) or type(e).__name__}").data()))
        return 1
    channel.send(Ready(runtime.info, time.monotonic() - started, runtime.step_ms))
    WorkerProcess(channel, runtime, asked.prefix_cache).run()
    runtime.close()
    return 0


def main() -> int:
    faulthandler.enable()  # a native crash leaves a Python stack in the daemon's log
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the whole group; the daemon decides
    channel = FrameSocket(socket.socket(fileno=int(sys.argv[1])), to_worker)
    root = logging.getLogger()
    root.addHandler(WorkerLog(channel))
    root.setLevel(logging.DEBUG)
    try:
        return serve(channel)
    except OSError:
        return 0  # the daemon is gone


if __name__ == "__main__":
    sys.exit(main())
