"""The worker process: owns one model and answers the daemon's messages.

Run as `python -m edgeinfer.backends.llama_cpp.worker.process FD [ahead]`, where FD is its end of a socketpair. With
`ahead` it is not known yet what there will be to load; a record on stdin says what it was the last time. Three threads:
one reads messages, tokenizes, and cuts a running prefill short when its request is cancelled; one compiles grammars; the
main one steps the engine, and blocks while there is nothing to do. With the socket ends the process.
"""

from __future__ import annotations

import contextlib
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
from typing import TYPE_CHECKING, TypeVar

from edgeinfer.allocator import return_freed_memory
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
    Ping,
    Pong,
    PrefixCacheConfig,
    Ready,
    Rerank,
    Reranked,
    Shutdown,
    Step,
    Tokenize,
    Tokenized,
    ToWorker,
    to_worker,
)
from edgeinfer.backends.llama_cpp.worker.affinity import pin_to
from edgeinfer.backends.llama_cpp.worker.confine import confine_worker
from edgeinfer.backends.llama_cpp.worker.embed_queue import EmbedJob, EmbedQueue
from edgeinfer.backends.llama_cpp.worker.inherited_states import inherited_states
from edgeinfer.backends.llama_cpp.worker.prefix_store import PrefixCacheStore
from edgeinfer.backends.llama_cpp.worker.prompt_tokenizer import PromptTokenizer, text_size
from edgeinfer.backends.llama_cpp.worker.runtime import Runtime, open_runtime
from edgeinfer.backends.llama_cpp.worker.worker_log import WorkerLog
from edgeinfer.engine.engine import Engine
from edgeinfer.engine.sequence import Request
from edgeinfer.engine.state_memory import StateMemory
from edgeinfer.engine.structured.constraint import Constraint
from edgeinfer.errors import EdgeinferError, InvalidRequest, ModelLoadFailed
from edgeinfer.inference.output import EngineStats
from edgeinfer.inference.types import Embeddings, Scores, Tokens
from edgeinfer.ipc.framing import FrameSocket
from edgeinfer.ipc.start_signal import receive_start

if TYPE_CHECKING:
    from edgeinfer.backends.llama_cpp.worker.early_model import EarlyModel

log = logging.getLogger("edgeinfer.worker")

MAX_SHORT_TEXT = 16384
"""Characters that are tokenized in the reader's thread, in a few milliseconds; longer texts wait for one another."""

TRIM_DELAY = 1.0
"""Seconds until 25 MB are given back that reading a vocabulary of 152k tokens and the self-test have left: after the
first answer, for which somebody waits."""

EMBED_SECONDS = 0.05
"""Seconds of embedding until the engine's next step, or the next look at what has arrived."""

EMBED_CHUNK = 128
"""Tokens to embed at once while nothing else is to be done."""

Job = Request | Cancel | Ping | EmbedJob | None
"""Work for the engine's thread; None ends it."""

M = TypeVar("M", bound=ToWorker)


class WorkerProcess:
    """Answers messages with one loaded model. `run` returns when the daemon says so or is gone."""

    def __init__(
        self,
        channel: FrameSocket[ToWorker],
        runtime: Runtime,
        prefix_cache: PrefixCacheConfig | None = None,
        state_memory: StateMemory | None = None,
    ) -> None:
        self._channel = channel
        self._prefixes = PrefixCacheStore(prefix_cache, runtime.config) if prefix_cache else None
        self._runtime = runtime
        self._engine = (
            Engine(
                runtime.backend,
                runtime.config,
                time.monotonic,
                trained_ctx=runtime.info.n_ctx_train,
                draft=runtime.draft,
                state_memory=state_memory,
            )
            if runtime.backend
            else None
        )
        self._jobs: queue.SimpleQueue[Job] = queue.SimpleQueue()
        self._prompts = PromptTokenizer(runtime)
        self._grammars = ThreadPoolExecutor(1, "grammars")
        self._long_texts = ThreadPoolExecutor(1, "long texts")
        self._preparing: set[int] = set()  # requests that the engine has yet to take
        self._embeds = EmbedQueue(runtime)
        self._embed_after = 0.0  # the engine has its turn until then
        self._in_flight: frozenset[int] = frozenset()  # as the daemon knows it
        self._ended = False

    @property
    def stats(self) -> EngineStats:
        return self._engine.stats() if self._engine else EngineStats()

    def run(self) -> None:
        threading.Thread(target=self._read, name="reader", daemon=True).start()
        trimming = threading.Timer(TRIM_DELAY, return_freed_memory)
        trimming.daemon = True
        trimming.start()
        if self._engine and self._prefixes:
            tokens = self._prefixes.load(self._engine.cache, self._send_pong)
            self._channel.send(Step([], self._engine.stats()))
            log.info("%d prompt tokens were loaded from the prefix cache", tokens)
        while not self._ended:
            self._take_jobs()
            if self._engine and self._engine.has_work:
                self._step(self._engine)
            if self._embeds.has_work:
                self._embed()
        trimming.cancel()
        for thread in (self._grammars, self._long_texts):
            thread.shutdown(cancel_futures=True)  # it must not use a model that is gone
        if self._prefixes and self._engine:
            self._prefixes.save(self._engine.cache)

    # --- the reader's thread

    def _read(self) -> None:
        while (message := self._channel.receive()) is not None and not isinstance(message, Shutdown):
            if isinstance(message, Generate | Embed | Rerank):
                self._preparing.add(message.id)
            if text_size(message) > MAX_SHORT_TEXT:
                self._long_texts.submit(self._answer, message, self._receive)
            else:
                self._answer(message, self._receive)
        self._jobs.put(None)
        if message is None:  # the daemon is gone, and with it what a tidy end would be for
            os._exit(0)

    def _answer(self, message: M, receive: Callable[[M], None]) -> None:
        try:
            receive(message)
        except EdgeinferError as e:
            self._preparing.discard(getattr(message, "id", 0))
            self._channel.send(Failed(getattr(message, "id", 0), e.data()))
        except Exception as e:
            self._preparing.discard(getattr(message, "id", 0))
            log.exception("%s failed", type(message).__name__)
            self._channel.send(Failed(getattr(message, "id", 0), EdgeinferError(str(e)).data()))

    def _receive(self, message: ToWorker) -> None:
        vocab = self._runtime.vocab
        match message:
            case Generate():
                if self._engine is None:
                    raise InvalidRequest("this model generates no text", param="model")
                if message.structured.grammar is None:
                    self._generate(message, None)
                else:
                    self._grammars.submit(self._answer, message, self._compile)
            case Cancel():
                self._preparing.discard(message.id)
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
                if self._runtime.pairs:
                    raise InvalidRequest("this model is a reranker and cannot embed", param="model")
                inputs = self._prompts.embed_tokens(message.inputs)
                self._jobs.put(EmbedJob(message.id, inputs, message.caller))
            case Rerank():
                if self._runtime.pairs is None:
                    raise InvalidRequest("this model is no reranker", param="model")
                pairs = self._runtime.pairs.pairs(
                    message.query, message.documents, message.cut, message.first
                )
                self._jobs.put(EmbedJob(message.id, pairs, message.caller))
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
            message.partial_answers,
            message.waited_ms,
            message.caller,
            message.cache_domain,
            message.session,
            self._runtime.vocab.tokenize(message.params.prediction, special=False),
            message.reproducible,
        )
        self._jobs.put(request)

    # --- the grammars' thread: a schema may take a second to compile

    def _compile(self, message: Generate) -> None:
        grammar = message.structured.grammar
        if self._engine is None or grammar is None or message.id not in self._preparing:
            return
        self._generate(message, self._engine.constraint_compiler.compile(grammar))

    # --- the engine's thread

    def _take_jobs(self) -> None:
        """Take all jobs that are there; wait for one if there is nothing else to do."""
        busy = self._embeds.has_work or (self._engine and self._engine.has_work)
        try:
            job = self._jobs.get(block=not busy, timeout=self._prefixes.wait if self._prefixes else None)
        except queue.Empty:
            if self._prefixes and self._engine and not busy:
                self._prefixes.save_next(self._engine.cache)
            return
        with contextlib.suppress(queue.Empty):
            while True:
                self._take(job)
                job = self._jobs.get_nowait()

    def _take(self, job: Job) -> None:
        match job:
            case None:
                self._ended = True
            case Cancel():
                if self._engine:
                    self._cancel(self._engine, job.id)
                self._embeds.remove(job.id)
            case Request():
                if job.id in self._preparing:  # else it was cancelled
                    self._add(job)
                self._preparing.discard(job.id)
            case Ping():
                self._channel.send(Pong())
            case EmbedJob() if job.id not in self._preparing:
                pass  # it was cancelled
            case EmbedJob():
                self._preparing.discard(job.id)
                try:
                    self._embeds.add(job)
                except EdgeinferError as e:
                    self._channel.send(Failed(job.id, e.data()))

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
        engine.admit()
        if engine.in_flight != self._in_flight:
            self._in_flight = engine.in_flight
            self._channel.send(InFlight(sorted(self._in_flight)))
        deltas = engine.step()
        for id, error in engine.failures:
            self._channel.send(Failed(id, error))
        engine.failures.clear()
        self._channel.send(Step(deltas, engine.stats()))
        if self._prefixes:
            self._prefixes.on_change()

    def _embed(self) -> None:
        """Embed for a moment, and no more of the time than the engine has for its answers."""
        started = time.monotonic()
        if started < self._embed_after and self._engine and self._engine.has_work:
            return
        while self._embeds.has_work and time.monotonic() - started < EMBED_SECONDS:
            if job := self._embeds.step(self._embed_chunk, self._send_pong):
                self._send_embeddings(job)
        now = time.monotonic()
        self._embed_after = now + (now - started)

    def _embed_chunk(self) -> int:
        if self._engine and self._engine.has_work:
            return min(EMBED_CHUNK, self._engine.prefill_budget.chunk(1))
        return EMBED_CHUNK

    def _send_embeddings(self, job: EmbedJob) -> None:
        tokens = sum(map(len, job.inputs))
        if job.error:
            self._channel.send(Failed(job.id, job.error.data()))
        elif self._runtime.pairs:
            self._channel.send(Reranked(job.id, Scores([float(row[0]) for row in job.rows], tokens)))
        else:
            vectors = [row.astype("<f4").tobytes() for row in job.rows]
            self._channel.send(Embedded(job.id, Embeddings(vectors, tokens)))

    def _send_pong(self) -> None:
        """Give the daemon a sign of life in the middle of a long job."""
        self._channel.send(Pong())


def serve(channel: FrameSocket[ToWorker], memory: int | None = None, early: EarlyModel | None = None) -> int:
    """Load the model that the first message names, then answer messages; -> exit status."""
    load = channel.receive()
    if not isinstance(load, Load):
        return 1
    started = time.monotonic()
    inherited = inherited_states(memory, load.config) if memory is not None else None
    pin_to(load.config.cpus)
    confinement = early.confinement if early else confine_worker(load)
    try:
        runtime = open_runtime(
            load.config, load.markers, lambda share: channel.send(LoadProgress(share)), early
        )
    except EdgeinferError as e:
        channel.send(Failed(0, e.data()))
        return 1
    except Exception as e:
        log.exception("loading failed")
        channel.send(Failed(0, ModelLoadFailed(f"{load.config.model}: {str(e) or type(e).__name__}").data()))
        return 1
    prefixes = load.prefix_cache if load.config.determinism != "alone" else None
    process = WorkerProcess(channel, runtime, prefixes, inherited)
    seconds = time.monotonic() - started + (early.seconds if early else 0)
    channel.send(Ready(runtime.info, seconds, runtime.step_ms, confinement, process.stats, runtime.build))
    process.run()
    runtime.close()
    return 0


def main() -> int:
    faulthandler.enable()  # a native crash leaves a Python stack in the daemon's log
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # sent to the whole group; the daemon still drains
    ours = socket.socket(fileno=int(sys.argv[1]))
    channel = FrameSocket(ours, to_worker)
    worker_log = WorkerLog(channel)
    root = logging.getLogger()
    root.addHandler(worker_log)
    root.setLevel(logging.DEBUG)
    early: EarlyModel | None = None
    if sys.argv[2:] == ["ahead"]:
        with contextlib.suppress(Exception):  # told when there is a model to load
            from edgeinfer.backends.llama_cpp.worker.early_model import early_progress, read_early

            early = read_early(sys.stdin.buffer.read(), early_progress(channel, ours))
    try:
        memory = receive_start(ours)
        worker_log.start()
        return serve(channel, memory, early)
    except OSError:
        return 0  # the daemon is gone


if __name__ == "__main__":
    sys.exit(main())
