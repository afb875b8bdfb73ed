"""The worker: a process that owns one model and answers the daemon's messages.

Run as `python -m edgeinfer.worker.process FD`, where FD is its end of a socketpair. Two threads: one reads
messages, tokenizes, and cuts a running prefill short when its request is cancelled; the main one steps the
engine, and blocks while there is nothing to do. The end of the socket is the end of the process.
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

from edgeinfer.engine.engine import Engine
from edgeinfer.engine.sequence import Request
from edgeinfer.errors import EdgeinferError, InvalidRequest, ModelLoadFailed
from edgeinfer.worker.frames import FrameSocket, to_worker
from edgeinfer.worker.messages import (
    Cancel,
    Detokenize,
    Embed,
    Embeddings,
    Failed,
    Generate,
    Load,
    LogLine,
    Prompt,
    Ready,
    Shutdown,
    Step,
    Text,
    Tokenize,
    Tokens,
    ToWorker,
)
from edgeinfer.worker.runtime import Runtime, open_runtime

log = logging.getLogger("edgeinfer.worker")

Job = Request | Cancel | tuple[int, list[list[int]]] | None
"""For the engine's thread: a request, a cancellation, inputs to embed, or the end."""


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

    def __init__(self, channel: FrameSocket[ToWorker], runtime: Runtime) -> None:
        self._channel = channel
        self._runtime = runtime
        self._engine = Engine(runtime.backend, runtime.config, time.monotonic) if runtime.backend else None
        self._jobs: queue.SimpleQueue[Job] = queue.SimpleQueue()
        self._embeds: list[tuple[int, list[list[int]]]] = []
        self._ended = False

    def run(self) -> None:
        threading.Thread(target=self._read, name="reader", daemon=True).start()
        if self._engine:
            threading.Thread(target=self._engine.writer.grammars.load, name="grammars", daemon=True).start()
        while not self._ended:
            self._take_jobs()
            if self._engine and self._engine.has_work:
                self._step(self._engine)
            if self._embeds:
                self._embed(*self._embeds.pop(0))

    # --- the reader's thread

    def _read(self) -> None:
        while (message := self._channel.receive()) is not None and not isinstance(message, Shutdown):
            self._answer(message)
        self._jobs.put(None)
        if message is None:  # the daemon is gone; nobody waits for a tidy end
            os._exit(0)

    def _answer(self, message: ToWorker) -> None:
        try:
            self._receive(message)
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
                    raise InvalidRequest(
                        "this model can only embed", param="model", hint="use /v1/embeddings"
                    )
                tokens = self._tokens(message.prompt, add_bos=message.add_bos)
                guidance, grammars = message.guidance, self._engine.writer.grammars
                constraint = grammars.constraint(guidance.grammar) if guidance.grammar else None
                self._jobs.put(Request(message.id, tokens, message.params, message.n, guidance, constraint))
            case Cancel():
                self._jobs.put(message)
                if self._engine:
                    self._engine.abort_prefill(message.id)
            case Tokenize():
                tokens = self._tokens(list(message.prompt), add_bos=message.add_bos)
                pieces = [vocab.piece(t, special=True) for t in tokens]
                self._channel.send(Tokens(message.id, tokens, pieces))
            case Detokenize():
                self._check(message.tokens)
                text = vocab.detokenize(message.tokens).decode("utf-8", "replace")
                self._channel.send(Text(message.id, text))
            case Embed():
                self._jobs.put((message.id, [self._embed_tokens(i) for i in message.inputs]))
            case _:
                raise InvalidRequest(f"unexpected message {type(message).__name__}")

    def _tokens(self, prompt: Prompt, *, add_bos: bool) -> list[int]:
        vocab = self._runtime.vocab
        tokens: list[int] = []
        for part in prompt:
            tokens += [part] if isinstance(part, int) else vocab.tokenize(part.text, special=part.trusted)
        given = bool(prompt) and isinstance(prompt[0], int)
        if add_bos and not given and vocab.add_bos and vocab.bos is not None and tokens[:1] != [vocab.bos]:
            tokens.insert(0, vocab.bos)
        return tokens

    def _embed_tokens(self, prompt: Prompt) -> list[int]:
        tokens = self._runtime.embed_tokens(prompt)
        self._check(tokens)
        if not tokens:
            raise InvalidRequest("an input is empty", param="input")
        return tokens

    def _check(self, tokens: list[int]) -> None:
        size = self._runtime.vocab.size
        bad = next((t for t in tokens if not 0 <= t < size), None)
        if bad is not None:
            raise InvalidRequest(f"token {bad} is not in the vocabulary of {size}", param="tokens")

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
                self._add(job)
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
            self._channel.send(Step([], self._engine.stats()))  # its first step may take seconds

    def _step(self, engine: Engine) -> None:
        deltas = engine.step()
        for id, error in engine.failures:
            self._channel.send(Failed(id, error))
        engine.failures.clear()
        self._channel.send(Step(deltas, engine.stats()))

    def _embed(self, id: int, inputs: list[list[int]]) -> None:
        try:
            rows = self._runtime.embed(inputs)
            vectors = [row.astype("<f4").tobytes() for row in rows]
            self._channel.send(Embeddings(id, vectors, sum(map(len, inputs))))
        except EdgeinferError as e:
            self._channel.send(Failed(id, e.data()))


def serve(channel: FrameSocket[ToWorker]) -> int:
    """Load what the first message says, then work; -> exit status."""
    load = channel.receive()
    if not isinstance(load, Load):
        return 1
    started = time.monotonic()
    try:
        runtime = open_runtime(load.config, load.markers)
    except EdgeinferError as e:
        channel.send(Failed(0, e.data()))
        return 1
    except Exception as e:
        log.exception("loading failed")
        channel.send(Failed(0, ModelLoadFailed(f"{load.config.model}: {e}").data()))
        return 1
    channel.send(Ready(runtime.info, time.monotonic() - started))
    WorkerProcess(channel, runtime).run()
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
