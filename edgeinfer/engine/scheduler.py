"""Decides which sequences run and what each step computes. It does nothing else: no I/O, clock or logging."""

from __future__ import annotations

from collections import Counter, deque
from typing import NamedTuple

from edgeinfer.engine.caller_shares import PROMPT_WEIGHT, CallerShares
from edgeinfer.engine.common_prefix import common_prefix
from edgeinfer.engine.drafter import DraftKind
from edgeinfer.engine.kv_cache import KVCache, Slot
from edgeinfer.engine.sequence import Sequence


class ScheduledChunk(NamedTuple):
    """The next `num_tokens` of `sequence` to compute; `output`: its last logits are wanted.

    `draft`: tokens that may follow, to be computed as well, with their logits; `draft_kind`: who has guessed them.
    """

    sequence: Sequence
    num_tokens: int
    output: bool
    draft: tuple[int, ...] = ()
    draft_kind: DraftKind = "ngram"


class Scheduler:
    """Waiting and running sequences.

    A caller's sequences are admitted in order of arrival, but one waits while another one computes a prefix that
    both can share. A step takes every decoding sequence and then prefill chunks.

    Callers share the slots, however much each of them asks for. The next sequence admitted is that of the caller with
    the fewest running, and of those with the least work done. If all slots are taken, a caller with at least two
    fewer than another gets one of its slots; so does one that has none and has had less work done. The sequence that
    makes way waits at the head of the queue, and goes on from the cells it has left.
    """

    MIN_SHARED_PREFIX = 48
    """Length of a common prefix that is worth waiting for."""

    MAX_UNSPLIT_PREFILL = 64
    """A shorter remainder of a prompt is never split: its answer can start a step earlier."""

    OLDEST_EVERY = 4
    """Every fourth prefill chunk goes to the oldest prompt, the others to the one nearest its end."""

    MIN_GAP = CallerShares.MAX_LAG / 2
    """Work that a caller's only sequence must be ahead of a waiting caller before it makes way."""

    def __init__(self, cache: KVCache, parallel: int, preempts: bool = True) -> None:
        """`preempts`: a caller's running sequence may have to make way for another caller's."""
        self.cache = cache
        self.preempts = preempts
        self.parallel = parallel
        self.waiting: deque[Sequence] = deque()
        self.running: list[Sequence] = []
        self.shares = CallerShares()
        self._num_chunks = 0

    @property
    def has_work(self) -> bool:
        return bool(self.waiting or self.running)

    @property
    def num_callers(self) -> int:
        """Callers with a running sequence."""
        return len({sequence.caller for sequence in self.running})

    def add(self, sequence: Sequence) -> None:
        self.shares.enter(sequence.caller)
        self.waiting.append(sequence)

    def admit(self, now: float) -> None:
        """Move sequences from waiting to running while there is room, or a caller has more than its share."""
        lines: dict[str, deque[Sequence]] = {}
        for sequence in self.waiting:
            lines.setdefault(sequence.caller, deque()).append(sequence)
        while lines:
            running = Counter(s.caller for s in self.running)
            caller = min(lines, key=lambda c: (running[c], self.shares.work(c)))
            if len(self.running) >= self.parallel and not self._holder_of_too_much(caller):
                return
            candidate = self._next_in(lines[caller])
            if candidate is None:
                del lines[caller]
            elif not self._admit(candidate, now):
                return  # strictly in order: a small one must not starve a large one

    def _next_in(self, line: deque[Sequence]) -> Sequence | None:
        """Take the next sequence that need not wait for another one's prefix."""
        while line:
            sequence = line.popleft()
            if not self._should_wait_for_prefix(sequence):
                return sequence
        return None

    def _admit(self, sequence: Sequence, now: float) -> bool:
        slot = self._slot(sequence)
        while slot is None:
            holder = self._holder_of_too_much(sequence.caller)
            if holder is None:
                return False
            self.preempt(self._youngest(holder))
            slot = self._slot(sequence)
        self.waiting.remove(sequence)
        sequence.admit(slot, now)
        self.running.append(sequence)
        return True

    def _slot(self, sequence: Sequence) -> Slot | None:
        if len(self.running) >= self.parallel:
            return None
        return self.cache.admit(
            sequence.tokens, sequence.cache_domain, sequence.owner, resumed=sequence.is_resumed
        )

    def _holder_of_too_much(self, caller: str) -> str | None:
        """The caller that has to give a slot to `caller`, which waits; None if none has."""
        running = Counter(s.caller for s in self.running)
        others = [other for other in running if other != caller]
        if not others or not self.preempts:
            return None
        holder = max(others, key=lambda c: (running[c], self.shares.work(c)))
        if running[holder] >= running[caller] + 2:
            return holder
        gap = self.shares.work(holder) - self.shares.work(caller)
        return holder if not running[caller] and gap >= self._min_gap(holder, caller) else None

    def _min_gap(self, holder: str, caller: str) -> float:
        """Work that the only sequence of `holder` may be ahead of `caller`, which waits.

        If its cells will not outlast its own wait, they have to be computed again, which must not be done too often.
        """
        displaced = sum(s.admission_time is not None and s.caller != caller for s in self.waiting)
        if displaced < len(self.cache.slots) - self.parallel:
            return self.MIN_GAP
        return self.MIN_GAP + PROMPT_WEIGHT * len(self._youngest(holder).tokens)

    def _youngest(self, caller: str) -> Sequence:
        """The running sequence of `caller` that arrived last."""
        return max((s for s in self.running if s.caller == caller), key=lambda s: s.order)

    def schedule(self, max_tokens: int, max_prefill: int) -> list[ScheduledChunk]:
        """Chunks for the next step: at most `max_tokens` tokens, about `max_prefill` of them prefill.

        Cells for every token are reserved in the cache; where they run short, the youngest sequences are
        preempted.
        """
        chunks: list[ScheduledChunk] = []
        left = max_tokens
        for sequence in [s for s in self.running if s.decoding]:
            n = min(sequence.num_schedulable, left)
            if n and self._reserve(sequence, n):
                chunks.append(ScheduledChunk(sequence, n, n == sequence.num_uncomputed))
                left -= n
        prefill_left = min(max_prefill, left)
        answers: str | None = None  # the caller for whom this step ends a prompt
        for sequence in self._prefill_order():
            if prefill_left <= 0:
                break
            if answers not in (None, sequence.caller):
                continue  # that caller's first token does not wait for others' prompts
            wanted = sequence.num_schedulable
            n = wanted if wanted <= self.MAX_UNSPLIT_PREFILL else prefill_left
            n = min(n, wanted, max_tokens - sum(c.num_tokens for c in chunks))
            if self._reserve(sequence, n):
                chunks.append(ScheduledChunk(sequence, n, n == sequence.num_uncomputed))
                prefill_left -= n
                if chunks[-1].output:
                    answers = sequence.caller
        return [c for c in chunks if c.sequence.slot]  # some may have been preempted for later ones

    def finish(self, sequence: Sequence) -> None:
        """Remove a sequence, whether it runs or waits."""
        if sequence in self.running:
            self.running.remove(sequence)
        elif sequence in self.waiting:
            self.waiting.remove(sequence)
        sequence.finish(self.cache)

    def preempt(self, sequence: Sequence) -> None:
        """Put a running sequence back at the head of the queue."""
        self.running.remove(sequence)
        sequence.preempt(self.cache)
        self.waiting.appendleft(sequence)

    def preempt_one(self) -> Sequence:
        """Preempt the youngest sequence of the caller that holds the most cells."""
        held: Counter[str] = Counter()
        for s in self.running:
            held[s.caller] += len(s.tokens)
        sequence = self._youngest(max(held, key=lambda caller: held[caller]))
        self.preempt(sequence)
        return sequence

    def _should_wait_for_prefix(self, sequence: Sequence) -> bool:
        """Another sequence is computing a prefix that this one can share."""
        domain = sequence.cache_domain
        for other in self.running:
            if other.decoding or other.num_uncomputed == 0 or other.cache_domain != domain:
                continue
            common = min(common_prefix(other.tokens, sequence.tokens), len(sequence.tokens) - 1)
            if (
                common >= other.num_computed + self.MIN_SHARED_PREFIX
                and common >= self.cache.num_resident(sequence.tokens, domain) + self.MIN_SHARED_PREFIX
            ):
                return True
        return False

    def _prefill_order(self) -> list[Sequence]:
        """The prompts of the caller with the least work done first.

        Of a caller's, the one nearest its end first, so that answers start early; in turn the oldest, so that all end.
        """
        prefills = [s for s in self.running if not s.decoding]
        self._num_chunks += bool(prefills)
        oldest_first = self._num_chunks % self.OLDEST_EVERY == 0
        work = {s.caller: self.shares.work(s.caller) for s in prefills}
        return sorted(
            prefills, key=lambda s: (work[s.caller], 0 if oldest_first else s.num_uncomputed, s.order)
        )

    def _reserve(self, sequence: Sequence, n: int) -> bool:
        """Reserve `n` cells for a running sequence, preempting others; False if it was itself preempted."""
        if sequence.slot is None:
            return False
        while not self.cache.reserve(sequence.slot, n):
            if self.preempt_one() is sequence:
                return False
        return True
