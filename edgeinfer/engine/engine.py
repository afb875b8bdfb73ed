"""The engine: requests in, deltas out, one step at a time."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from itertools import chain

from edgeinfer.engine.backend import Backend, Batch, DecodeStatus, Row
from edgeinfer.engine.config import EngineConfig
from edgeinfer.engine.kv_cache import KVCache
from edgeinfer.engine.kv_streams import StreamsCache
from edgeinfer.engine.kv_unified import UnifiedCache
from edgeinfer.engine.output_processor import OutputProcessor, StepOutput
from edgeinfer.engine.prefill_budget import PrefillBudget
from edgeinfer.engine.scheduler import ScheduledChunk, Scheduler
from edgeinfer.engine.sequence import Request, Sequence, SequenceStatus
from edgeinfer.engine.structured.prefetch import MaskPrefetcher
from edgeinfer.errors import ConstraintFailed, ContextLengthExceeded, DecodeFailed, ErrorData, InvalidRequest
from edgeinfer.inference.output import Delta, EngineStats, Finish, FinishReason, PartialAnswer

Clock = Callable[[], float]


class Engine:
    """Continuous batching over a backend. One thread calls everything but `abort_prefill`.

    `clock` is in seconds and only has to be monotonic.
    """

    RETRIES = 2
    """Failed decodes in a row before the sequences in them are given up."""

    def __init__(self, backend: Backend, config: EngineConfig, clock: Clock) -> None:
        self.backend = backend
        self.config = config
        self.cache: KVCache = (
            StreamsCache(backend, config.slots, config.ctx)
            if config.layout == "streams"
            else UnifiedCache(backend, config.slots, config.ctx, config.cells)
        )
        self.scheduler = Scheduler(self.cache, config.parallel)
        self.pace = PrefillBudget(config.step_ms, config.batch)
        self.writer = OutputProcessor(backend.vocab, config.ctx)
        self.failures: list[tuple[int, ErrorData]] = []
        """Requests that ended in an error, for the caller to take: (id, error)."""
        self._clock = clock
        self._batch = Batch(config.batch)
        self._masks = MaskPrefetcher()
        self._sequences: dict[int, list[Sequence]] = {}
        self._prefilling: frozenset[int] = frozenset()
        self._order = 0
        self._failed_steps = 0
        self._totals = dict.fromkeys(("prompt", "cached", "completion", "forced", "steps", "preemptions"), 0)
        self._step_ms = 0.0

    @property
    def has_work(self) -> bool:
        return self.scheduler.has_work

    @property
    def at_work(self) -> frozenset[int]:
        """Requests that the next step may touch: those that run, and where there is a free place, those that wait."""
        running, waiting = self.scheduler.running, self.scheduler.waiting
        touched = (*running, *waiting) if len(running) < self.config.parallel else running
        return frozenset(sequence.request.id for sequence in touched)

    def add(self, request: Request) -> None:
        """Queue a request.

        Raises:
            ContextLengthExceeded: its prompt leaves no room for an answer, or for what has been produced of it.
            InvalidRequest: it has no prompt, or a token that the vocabulary lacks.
            ConstraintFailed: what has been produced of it is against its grammar.
        """
        self._check(request)
        seed = secrets.randbits(63) if request.params.seed is None else request.params.seed
        group = []
        for index, partial in enumerate(request.partial_answers or [PartialAnswer()] * request.n):
            if partial is None:
                continue
            self._order += 1
            thinking = self.writer.thinking(request)
            sequence = Sequence(request, index, seed, self._order, self._clock(), thinking)
            if partial.tokens:
                self.writer.resume(sequence, partial)
            else:
                self.writer.open(sequence)
            group.append(sequence)
        self._sequences[request.id] = group
        for sequence in group:
            self.scheduler.add(sequence)

    def cancel(self, id: int) -> None:
        """Drop a request; no more deltas come of it. Unknown ids are ignored: it may have just ended."""
        for sequence in self._sequences.pop(id, ()):
            self.scheduler.finish(sequence)

    def abort_prefill(self, id: int) -> None:
        """From any thread: if the running decode is computing this request's prompt, cut it short."""
        if id in self._prefilling:
            self.backend.abort()

    def step(self) -> list[Delta]:
        """Compute one batch; -> what it added to each answer."""
        self.scheduler.admit(self._clock())
        decoding = sum(s.decoding for s in self.scheduler.running)
        waiting = len(self.scheduler.waiting)
        work = self.scheduler.schedule(self.config.batch, self.pace.chunk(decoding))
        self._totals["preemptions"] += max(0, len(self.scheduler.waiting) - waiting)
        if not work:
            return []
        self.cache.compact()
        outputs = self._fill(work)
        started = self._clock()
        with self._masks.ahead(item.sequence.constraint for item, _ in outputs):
            status = self._decode(work)
        if status is not DecodeStatus.OK:
            self._recover(work, status)
            return []
        self._failed_steps = 0
        self._account(work, (self._clock() - started) * 1e3)
        for item in work:
            sequence = item.sequence
            assert sequence.slot is not None
            self.cache.commit(sequence.slot, sequence.tokens[sequence.num_computed :][: item.n_tokens])
        found = (
            self._produce(item.sequence, self.backend.logits(at))
            for item, at in outputs
            # Another answer to its request may just have failed.
            if item.sequence.status is SequenceStatus.RUNNING
        )
        return [delta for delta in found if delta]

    def stats(self) -> EngineStats:
        totals = self._totals
        return EngineStats(
            running=len(self.scheduler.running),
            waiting=len(self.scheduler.waiting),
            cells=self.cache.cells,
            cells_used=self.cache.cells_used,
            cells_cached=self.cache.cells_cached,
            prompt_tokens_total=totals["prompt"],
            cached_tokens_total=totals["cached"],
            completion_tokens_total=totals["completion"],
            forced_tokens_total=totals["forced"],
            steps_total=totals["steps"],
            preemptions_total=totals["preemptions"],
            step_ms=self._step_ms,
        )

    def check_integrity(self) -> None:
        """Raise AssertionError where the books don't balance."""
        self.cache.check_integrity()
        live = {id(s) for group in self._sequences.values() for s in group}
        known = {id(s) for s in (*self.scheduler.waiting, *self.scheduler.running)}
        running = sum(slot.running for slot in self.cache.slots)
        if not known <= live or running != len(self.scheduler.running):
            raise AssertionError(f"{len(live)} live, {len(known)} scheduled, {running} slots running")

    def _check(self, request: Request) -> None:
        ctx, n = self.config.ctx, len(request.tokens)
        if not n:
            raise InvalidRequest("the prompt is empty", param="prompt")
        if n >= ctx:
            raise ContextLengthExceeded(
                f"the prompt has {n} tokens, and the context holds {ctx}, answer included",
                hint="shorten the prompt, or serve with a larger --ctx where the model allows",
            )
        size = self.backend.vocab.size
        produced = [p.tokens for p in request.partial_answers if p]
        if any(n + len(tokens) >= ctx for tokens in produced):
            raise ContextLengthExceeded(
                f"the prompt has {n} tokens, the answer so far up to {max(map(len, produced))}, "
                f"and the context holds no more than {ctx} now"
            )
        if bad := next((t for t in chain(request.tokens, *produced) if not 0 <= t < size), None):
            raise InvalidRequest(f"token {bad} is not in the vocabulary of {size}", param="prompt")
        if bad := next((t for t in request.params.logit_bias if not 0 <= t < size), None):
            raise InvalidRequest(f"token {bad} is not in the vocabulary of {size}", param="logit_bias")

    def _fill(self, work: list[ScheduledChunk]) -> list[tuple[ScheduledChunk, int]]:
        """Write the batch; -> the work that wants logits, and where in the batch they will be.

        In order of slots: llama.cpp computes neighbours together.
        """
        self._batch.clear()
        outputs = []
        for item in sorted(work, key=lambda w: w.sequence.slot.id if w.sequence.slot else 0):
            sequence = item.sequence
            assert sequence.slot is not None
            tokens = sequence.tokens[sequence.num_computed :][: item.n_tokens]
            at = self._batch.add(sequence.slot.id, sequence.num_computed, tokens, output=item.output)
            if item.output:
                outputs.append((item, at))
        return outputs

    def _decode(self, work: list[ScheduledChunk]) -> DecodeStatus:
        self.backend.clear_abort()
        self._prefilling = frozenset(w.sequence.request.id for w in work if not w.sequence.decoding)
        try:
            return self.backend.decode(self._batch)
        finally:
            self._prefilling = frozenset()

    def _recover(self, work: list[ScheduledChunk], status: DecodeStatus) -> None:
        """Bring the cache back to before the step; the same work is scheduled again next time."""
        for item in work:
            if item.sequence.slot:
                self.cache.trim(item.sequence.slot, item.sequence.num_computed)
        if status is DecodeStatus.ABORTED:
            return
        self._failed_steps += 1
        patient = self._failed_steps <= self.RETRIES + self.config.parallel
        if status is DecodeStatus.NO_SPACE and len(self.scheduler.running) > 1 and patient:
            self.scheduler.preempt(max(self.scheduler.running, key=lambda s: s.order))
            self._totals["preemptions"] += 1
        elif self._failed_steps > self.RETRIES:
            self._give_up(work)

    def _give_up(self, work: list[ScheduledChunk]) -> None:
        self._failed_steps = 0
        error = DecodeFailed(
            "the model could not compute this request", hint="see the log of the worker"
        ).data()
        for id in {w.sequence.request.id for w in work}:
            for sequence in self._sequences.get(id, ()):
                if sequence.slot:
                    self.cache.trim(sequence.slot, 0)
            self.cancel(id)
            self.failures.append((id, error))

    def _account(self, work: list[ScheduledChunk], ms: float) -> None:
        decoding = sum(w.sequence.decoding for w in work)
        prefill = sum(w.n_tokens for w in work if not w.sequence.decoding)
        self.pace.measured(decoding, prefill, ms)
        self._step_ms = ms
        self._totals["steps"] += 1
        self._totals["prompt"] += prefill

    def _produce(self, sequence: Sequence, row: Row) -> Delta | None:
        """Sample a token from `row`, and say what it adds to the answer; None: its request has failed."""
        begins = sequence.first_token_time is None
        if begins:
            sequence.first_token_time = self._clock()
            self._totals["cached"] += sequence.cached_tokens
        try:
            written = self.writer.write(sequence, row)
        except ConstraintFailed as e:
            self.cancel(sequence.request.id)
            self.failures.append((sequence.request.id, e.data()))
            return None
        self._totals["completion"] += len(written.tokens)
        self._totals["forced"] += max(0, len(written.tokens) - 1)
        return self._delta(sequence, written, begins)

    def _delta(self, sequence: Sequence, written: StepOutput, begins: bool) -> Delta:
        stop = sequence.text.stop  # may also be met in what a flush lets go
        logprobs = sequence.logprobs.release(written.text)
        if written.reason and stop is None:
            logprobs += sequence.logprobs.flush()
        finish = None
        if written.reason:
            finish = self._finish(sequence, "stop" if stop is not None else written.reason)
        return Delta(
            sequence.request.id,
            sequence.index,
            written.text,
            written.tokens,
            logprobs if sequence.request.params.logprobs is not None else None,
            finish,
            sequence.timings if begins else None,
            None if finish else sequence.held_state,
        )

    def _finish(self, sequence: Sequence, reason: FinishReason) -> Finish:
        self.scheduler.finish(sequence)
        group = self._sequences[sequence.request.id]
        if all(s.status is SequenceStatus.FINISHED for s in group):
            del self._sequences[sequence.request.id]
        now, admitted = self._clock(), sequence.admission_time or 0.0
        first = sequence.first_token_time or now
        return Finish(
            reason,
            sequence.num_prompt_tokens,
            sequence.cached_tokens,
            sequence.num_output_tokens,
            sequence.text.stop,
            (admitted - sequence.arrival_time) * 1e3,
            (first - admitted) * 1e3,
            (now - first) * 1e3,
        )
