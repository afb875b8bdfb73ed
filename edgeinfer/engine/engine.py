"""The engine: requests in, deltas out, one step at a time."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable

from edgeinfer.engine.backend import Backend, Batch, DecodeStatus, Row
from edgeinfer.engine.config import EngineConfig
from edgeinfer.engine.draft_model import DraftModel
from edgeinfer.engine.drafter import DraftKind
from edgeinfer.engine.kv_cache import KVCache
from edgeinfer.engine.kv_streams import StreamsCache
from edgeinfer.engine.kv_unified import UnifiedCache
from edgeinfer.engine.output_processor import OutputProcessor, StepOutput
from edgeinfer.engine.prefill_budget import PrefillBudget
from edgeinfer.engine.ram_cache import RamCache
from edgeinfer.engine.request_check import check_request
from edgeinfer.engine.scheduler import ScheduledChunk, Scheduler
from edgeinfer.engine.sequence import Request, Sequence, SequenceStatus
from edgeinfer.engine.snapshots import Snapshots
from edgeinfer.engine.speculator import Speculator
from edgeinfer.engine.state_memory import StateMemory
from edgeinfer.engine.structured.constraint import ConstraintCompiler
from edgeinfer.engine.structured.prefetch import MaskPrefetcher
from edgeinfer.engine.structured.thinking import ThinkingTracker
from edgeinfer.engine.structured.tokenizer import TextTokenizer
from edgeinfer.errors import (
    ConstraintFailed,
    DecodeFailed,
    EdgeinferError,
    ErrorData,
)
from edgeinfer.inference.output import Delta, EngineStats, Finish, FinishReason, PartialAnswer

Clock = Callable[[], float]


class Engine:
    """Continuous batching over a backend. One thread calls everything but `abort_prefill`.

    `clock` is in seconds and only has to be monotonic.
    """

    MAX_RETRIES = 2
    """Failed decodes in a row before the requests in them are given up."""

    def __init__(
        self,
        backend: Backend,
        config: EngineConfig,
        clock: Clock,
        *,
        trained_ctx: int = 0,
        draft: Backend | None = None,
        state_memory: StateMemory | None = None,
    ) -> None:
        """Make an engine.

        Args:
            trained_ctx: the context that the model was trained for, 0 if unknown.
            draft: a smaller model of the same vocabulary, with as many sequences and cells.
            state_memory: what it holds outlives this engine, and helps the next one to continue its answers.
        """
        self.backend = backend
        self.config = config
        ram_cache = RamCache(backend, config.ram_cache_mb, state_memory)
        self.cache: KVCache = (
            StreamsCache(backend, config.slots, config.ctx, ram_cache)
            if config.layout == "streams"
            else UnifiedCache(backend, config.slots, config.ctx, config.cells, ram_cache)
        )
        self.cache.keeps_prefixes = config.determinism != "alone"
        self.scheduler = Scheduler(self.cache, config.parallel, preempts=config.determinism != "alone")
        self.prefill_budget = PrefillBudget(config.step_ms, config.batch)
        self.draft_model = DraftModel(draft, backend.vocab.size, config, clock) if draft else None
        self.speculator = Speculator(self.cache, config, self.draft_model)
        self._snapshots = Snapshots(self.cache, config.step_ms, clock)
        self.output_processor = OutputProcessor(backend.vocab, config)
        self._tokenizer = TextTokenizer(backend.vocab)
        self.constraint_compiler = ConstraintCompiler(self._tokenizer)
        self.failures: list[tuple[int, ErrorData]] = []
        """Requests that ended in an error, for the caller to take: (id, error)."""
        self._clock = clock
        self._trained_ctx = trained_ctx
        self._batch = Batch(config.batch)
        self._masks = MaskPrefetcher()
        self._sequences: dict[int, list[Sequence]] = {}
        self._prefilling: frozenset[int] = frozenset()
        self._unwanted: set[int] = set()  # requests whose next prefill is cut short
        self._order = 0
        self._num_failed_steps = 0
        self._has_bad_cells = False
        self._totals: Counter[str] = Counter()
        self._drafted: Counter[DraftKind] = Counter()
        self._accepted: Counter[DraftKind] = Counter()
        self._step_ms = 0.0

    @property
    def has_work(self) -> bool:
        return self.scheduler.has_work

    @property
    def in_flight(self) -> frozenset[int]:
        """Requests that the next step may touch: running ones, and waiting ones if another may be admitted."""
        running, waiting = self.scheduler.running, self.scheduler.waiting
        sequences = (*running, *waiting) if len(running) < self.config.parallel else running
        return frozenset(sequence.request.id for sequence in sequences)

    def add(self, request: Request) -> None:
        """Queue a request.

        Raises:
            ContextLengthExceeded: its prompt, or a partial answer of it, leaves no room for an answer.
            InvalidRequest: it has no prompt, or a token that the vocabulary lacks.
            ConstraintFailed: a partial answer of it breaks its grammar.
        """
        check_request(request, self.config.ctx, self.backend.vocab.size, self._trained_ctx)
        seed = secrets.randbits(63) if request.params.seed is None else request.params.seed
        group = []
        for index, partial in enumerate(request.partial_answers or [PartialAnswer()] * request.n):
            if partial is None:
                continue
            self._order += 1
            thinking = self._thinking(request)
            sequence = Sequence(request, index, seed, self._order, self._clock(), thinking)
            self.speculator.start(sequence)
            if partial.tokens:
                self.output_processor.resume(sequence, partial)
            else:
                self.output_processor.start(sequence)
            group.append(sequence)
        self._sequences[request.id] = group
        for sequence in group:
            self.scheduler.add(sequence)

    def cancel(self, id: int) -> None:
        """Drop a request; it gets no more deltas. Unknown ids are ignored: it may have just ended."""
        self._unwanted.discard(id)
        for sequence in self._sequences.pop(id, ()):
            self.scheduler.finish(sequence)

    def abort_prefill(self, id: int) -> None:
        """Cut the decode short that computes this request's prompt, or is about to. Callable from any thread."""
        if id in self._sequences:
            self._unwanted.add(id)  # before the next line: a decode that begins between them finds it
            if id in self._prefilling:
                self.backend.abort()

    def admit(self) -> None:
        """Let waiting requests take the slots that they can have; the next step does so in any case."""
        self.scheduler.admit(self._clock())

    def step(self) -> list[Delta]:
        """Compute one batch; -> what it added to each answer."""
        self._snapshots.take(self.scheduler.running)  # now that the caller has what the last step added
        self.admit()
        num_decoding = sum(s.decoding for s in self.scheduler.running)
        num_waiting = len(self.scheduler.waiting)
        # With several callers each step is short, as if an answer were running: the next one to speak is near.
        max_prefill = self.prefill_budget.chunk(num_decoding or self.scheduler.num_callers > 1)
        chunks = self.scheduler.schedule(self.config.batch, max_prefill)
        self._totals["preemptions_total"] += max(0, len(self.scheduler.waiting) - num_waiting)
        if not chunks:
            return []
        self.cache.compact()
        chunks = self.speculator.extend(chunks)
        outputs = self._fill_batch(chunks)
        started = self._clock()
        with self._masks.prefetch(chunk.sequence.constraint for chunk, _ in outputs):
            status = self._decode(chunks)
        if status is not DecodeStatus.OK:
            self._recover(chunks, status)
            return []
        self._num_failed_steps = 0
        self._account(chunks, (self._clock() - started) * 1e3)
        for chunk in chunks:
            sequence = chunk.sequence
            assert sequence.slot is not None
            self.cache.commit(sequence.slot, sequence.tokens[sequence.num_computed :][: chunk.num_tokens])
        progress = [self._progress(chunk.sequence) for chunk in chunks if chunk.sequence.reports_progress]
        deltas = [
            self._extend(chunk, at)
            for chunk, at in outputs
            # Another answer to its request may just have failed.
            if chunk.sequence.status is SequenceStatus.RUNNING
        ]
        if self._has_bad_cells:
            self._clear_cache()
        return progress + [delta for delta in deltas if delta]

    def stats(self) -> EngineStats:
        return EngineStats(
            running=len(self.scheduler.running),
            waiting=len(self.scheduler.waiting),
            cells=self.cache.cells,
            cells_used=self.cache.cells_used,
            cells_cached=self.cache.cells_cached,
            drafted_tokens_total=self._drafted.total(),
            drafted_by_prediction_total=self._drafted["prediction"],
            drafted_by_model_total=self._drafted["model"],
            accepted_tokens_total=self._accepted.total(),
            accepted_by_prediction_total=self._accepted["prediction"],
            accepted_by_model_total=self._accepted["model"],
            step_ms=self._step_ms,
            threads=self.backend.threads,
            **self._totals,
            **self.cache.ram_cache.figures(),
        )

    def check_integrity(self) -> None:
        """Raise AssertionError if the engine's records contradict each other."""
        self.cache.check_integrity()
        if self.draft_model:
            self.draft_model.check_integrity()
        live = {id(s) for group in self._sequences.values() for s in group}
        scheduled = {id(s) for s in (*self.scheduler.waiting, *self.scheduler.running)}
        running = sum(slot.running for slot in self.cache.slots)
        if not scheduled <= live or running != len(self.scheduler.running):
            raise AssertionError(f"{len(live)} live, {len(scheduled)} scheduled, {running} slots running")

    def _thinking(self, request: Request) -> ThinkingTracker | None:
        budget = request.structured.thinking
        return ThinkingTracker(budget, self._tokenizer.encode(budget.closing)) if budget else None

    def _fill_batch(self, chunks: list[ScheduledChunk]) -> list[tuple[ScheduledChunk, int]]:
        """Write the batch; -> the chunks that want logits, and where in the batch these will be.

        In order of slots, because llama.cpp computes neighbours together.
        """
        self._batch.clear()
        outputs = []
        for chunk in sorted(chunks, key=lambda c: c.sequence.slot.id if c.sequence.slot else 0):
            sequence = chunk.sequence
            assert sequence.slot is not None
            tokens = sequence.tokens[sequence.num_computed :][: chunk.num_tokens]
            start, draft = sequence.num_computed, chunk.draft
            at = self._batch.add(sequence.slot.id, start, tokens, output=chunk.output, draft=draft)
            if chunk.output:
                outputs.append((chunk, at))
        return outputs

    def _decode(self, chunks: list[ScheduledChunk]) -> DecodeStatus:
        self.backend.clear_abort()
        self._prefilling = frozenset(c.sequence.request.id for c in chunks if not c.sequence.decoding)
        if not self._unwanted.isdisjoint(self._prefilling):
            self.backend.abort()
        try:
            return self.backend.decode(self._batch)
        finally:
            self._unwanted -= self._prefilling
            self._prefilling = frozenset()

    def _recover(self, chunks: list[ScheduledChunk], status: DecodeStatus) -> None:
        """Restore the cache's state before the step; the next step tries the same chunks again."""
        for chunk in chunks:
            if chunk.sequence.slot:
                self.cache.trim(chunk.sequence.slot, chunk.sequence.num_computed)
        if status is DecodeStatus.ABORTED:
            return
        self._num_failed_steps += 1
        may_preempt = self._num_failed_steps <= self.MAX_RETRIES + self.config.parallel
        if status is DecodeStatus.NO_SPACE and len(self.scheduler.running) > 1 and may_preempt:
            self.scheduler.preempt_one()
            self._totals["preemptions_total"] += 1
        elif self._num_failed_steps > self.MAX_RETRIES:
            self._give_up(chunks)

    def _give_up(self, chunks: list[ScheduledChunk]) -> None:
        self._num_failed_steps = 0
        error = DecodeFailed("the model could not compute this request", hint="see the worker's log")
        for id in {c.sequence.request.id for c in chunks}:
            for sequence in self._sequences.get(id, ()):
                if sequence.slot:
                    self.cache.trim(sequence.slot, 0)
            self._fail(id, error)

    def _account(self, chunks: list[ScheduledChunk], ms: float) -> None:
        num_decoding = sum(c.sequence.decoding for c in chunks)
        num_prefill = sum(c.num_tokens for c in chunks if not c.sequence.decoding)
        if not num_prefill:
            self.speculator.record(chunks, ms)
        if not any(chunk.draft for chunk in chunks):
            self.prefill_budget.record(num_decoding, num_prefill, ms)
        for chunk in chunks:
            sequence = chunk.sequence
            self.scheduler.shares.add(sequence.caller, chunk.num_tokens, prompt=not sequence.decoding)
        self._step_ms = ms
        self._totals["steps_total"] += 1
        self._totals["prompt_tokens_total"] += num_prefill

    def _extend(self, chunk: ScheduledChunk, at: int) -> Delta | None:
        """Extend the answer from row `at` and, as far as its draft is right, from the next; -> None as in `_produce`."""
        sequence, slot, draft = chunk.sequence, chunk.sequence.slot, chunk.draft
        assert slot is not None
        sequence.num_drafted += len(draft)
        self._drafted[chunk.draft_kind] += len(draft)
        delta = last = self._produce(sequence, self.backend.logits(at))
        while delta and last and draft and not last.finish:
            right, draft = draft[: len(last.tokens)], draft[len(last.tokens) :]
            if right != tuple(last.tokens):
                break
            self.cache.commit(slot, right)
            sequence.num_accepted += len(right)
            self._accepted[chunk.draft_kind] += len(right)
            at += len(right)
            last = self._produce(sequence, self.backend.logits(at))
            delta = last and delta.followed_by(last, num_accepted=len(right))
        if chunk.draft:
            self.cache.trim(slot, len(slot.tokens))  # drops the cells of wrong guesses
        return delta

    def _produce(self, sequence: Sequence, row: Row) -> Delta | None:
        """Extend the answer from `row`; -> the addition, or None if its request has failed."""
        is_first = sequence.first_token_time is None
        if is_first:
            sequence.first_token_time = self._clock()
            self._totals["cached_tokens_total"] += sequence.num_cached_tokens
        try:
            output = self.output_processor.process(sequence, row)
        except ConstraintFailed as e:
            self._fail(sequence.request.id, e)
            return None
        except DecodeFailed as e:
            self._fail(sequence.request.id, e)
            self._has_bad_cells = True
            return None
        self._totals["completion_tokens_total"] += len(output.tokens)
        self._totals["forced_tokens_total"] += max(0, len(output.tokens) - 1)
        return self._delta(sequence, output, is_first)

    def _progress(self, sequence: Sequence) -> Delta:
        progress = sequence.prompt_progress(self._clock())
        return Delta(sequence.request.id, sequence.index, "", progress=progress)

    def _fail(self, id: int, error: EdgeinferError) -> None:
        self.cancel(id)
        self.failures.append((id, error.data()))

    def _clear_cache(self) -> None:
        """Drop all cells and their content; running answers are computed again.

        NaN in a free cell would reach whatever reads the cells around it: masked, it is still NaN.
        """
        for sequence in sorted(self.scheduler.running, key=lambda s: s.order, reverse=True):
            self.scheduler.preempt(sequence)
            self._totals["preemptions_total"] += 1
        self.cache.clear()
        self._has_bad_cells = False

    def _delta(self, sequence: Sequence, output: StepOutput, is_first: bool) -> Delta:
        stop = sequence.detokenizer.matched_stop  # the final flush may also have met one
        logprobs = sequence.logprobs.release(output.text)
        if output.finish_reason and stop is None:
            logprobs += sequence.logprobs.flush()
        finish = None
        if output.finish_reason:
            finish = self._finish(sequence, "stop" if stop is not None else output.finish_reason)
        return Delta(
            sequence.request.id,
            sequence.index,
            output.text,
            output.tokens,
            logprobs if sequence.request.params.logprobs is not None else None,
            finish,
            sequence.timings if is_first else None,
            None if finish else sequence.held_state,
        )

    def _finish(self, sequence: Sequence, reason: FinishReason) -> Finish:
        self.scheduler.finish(sequence)
        group = self._sequences[sequence.request.id]
        if all(s.status is SequenceStatus.FINISHED for s in group):
            del self._sequences[sequence.request.id]
        now, admission = self._clock(), sequence.admission_time or 0.0
        first_token = sequence.first_token_time or now
        return Finish(
            reason,
            sequence.num_prompt_tokens,
            sequence.num_cached_tokens,
            sequence.num_output_tokens,
            sequence.detokenizer.matched_stop,
            (admission - sequence.arrival_time) * 1e3,
            (first_token - admission) * 1e3,
            (now - first_token) * 1e3,
            sequence.num_drafted,
            sequence.num_accepted,
        )
