"""Guesses the next tokens of answers with a smaller model of the same vocabulary.

The draft model has a KV cache of its own, with a row for each running answer. A row is brought up to date when its
answer is to be drafted, and a guess that turned out wrong is cut off then. When that pays: `speculator.py`.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from collections.abc import Sequence as Seq
from typing import TYPE_CHECKING

import numpy as np

from edgeinfer.engine.backend import Backend, Batch, DecodeStatus
from edgeinfer.engine.common_prefix import common_prefix
from edgeinfer.engine.config import EngineConfig
from edgeinfer.engine.drafter import DraftKind
from edgeinfer.engine.step_costs import StepCosts

if TYPE_CHECKING:
    from edgeinfer.engine.sequence import Sequence

ACCEPTANCE = 0.6
"""Share of right guesses that is expected of a model before any have been checked."""

SMOOTHING = 0.1
"""Weight of a new observation in an answer's share of right guesses."""

MODEL_SMOOTHING = 0.05
"""Weight of a new observation in the share with which an answer begins."""

MIN_CHUNK = 16
"""Tokens of a row that are computed at once, even where they take longer than they should."""


class ModelDrafter:
    """Has the draft model's guesses for one answer, and learns how often they are right.

    Attributes:
        acceptance: the probability that the next guess is right, if all before it are.
        saved_ms: time that guesses would have saved so far; it pays for bringing the row up to date.
        catching_up: the row is being brought up to date.
        on_trial: the row has just been brought up to date: guess at least once.
    """

    kind: DraftKind = "model"

    def __init__(self, model: DraftModel) -> None:
        self._model = model
        self._guesses: list[int] = []
        self.acceptance = model.acceptance
        self.saved_ms = 0.0
        self.catching_up = False
        self.on_trial = False

    def draft(self, n: int) -> list[int]:
        """Up to `n` of the guesses that the model has made; none if they are used up."""
        return self._guesses[:n]

    def push(self, token: int) -> None:
        """The answer goes on with `token`."""
        if not self._guesses:
            return
        right = self._guesses.pop(0) == token
        self.acceptance += SMOOTHING * (right - self.acceptance)
        self._model.acceptance += MODEL_SMOOTHING * (right - self._model.acceptance)
        if not right:
            self._guesses.clear()

    def guess(self, tokens: list[int]) -> None:
        """The model has guessed these next tokens."""
        self._guesses = tokens
        self.on_trial = False


class DraftRow:
    """One of the draft backend's sequences: its `tokens`, the first `known` of which are those of its owner."""

    def __init__(self, id: int) -> None:
        self.id = id
        self.tokens: list[int] = []
        self.known = 0
        self.owner: Callable[[], Sequence | None] = lambda: None
        self.domain = ""
        self.last_used = 0

    @property
    def running(self) -> bool:
        owner = self.owner()
        return owner is not None and owner.slot is not None


class DraftModel:
    """Computes guesses for several answers at once. Used by the engine's thread."""

    def __init__(
        self, backend: Backend, vocab_size: int, config: EngineConfig, clock: Callable[[], float]
    ) -> None:
        """`backend` has as many rows and cells as the engine's own, which knows `vocab_size` tokens."""
        self.costs = StepCosts()
        self.acceptance = ACCEPTANCE
        self._backend = backend
        # One of the two may have a few tokens more, to which nothing is assigned.
        self._vocab_size = min(vocab_size, backend.vocab.size)
        self._clock = clock
        self._rows = [DraftRow(i) for i in range(config.slots)]
        self._cells = config.cells if config.layout == "unified" else None
        self._batch = Batch(config.batch)
        self._uses = 0

    @property
    def max_tokens(self) -> int:
        """Tokens that one pass can have."""
        return self._batch.capacity

    @property
    def measured(self) -> bool:
        """What a guess costs is known."""
        return self.costs.ms(1) > 0

    def lag(self, sequence: Sequence) -> int:
        """Tokens of a running sequence that its row lacks, at least the last one."""
        return len(sequence.tokens) - self._row(sequence).known

    def catch_up_ms(self, lag: int) -> float:
        """Expected time of bringing a row up to date."""
        chunk = min(MIN_CHUNK, self.max_tokens)
        return self.costs.ms(chunk) * lag / chunk

    def draft_ms(self, lags: Seq[int], n: int) -> float:
        """Expected time of `n` guesses each for answers whose rows lack so many tokens."""
        return self.costs.ms(sum(lags)) + (n - 1) * self.costs.ms(len(lags))

    def catch_up(self, sequence: Sequence, max_ms: float) -> None:
        """Compute some of the tokens that the row lacks, except the last, in about `max_ms`."""
        row = self._row(sequence)
        tokens = sequence.tokens[row.known : row.known + min(self._chunk(max_ms), self.lag(sequence) - 1)]
        if tokens and self._decode([row], [tokens], output=False):
            row.known = len(row.tokens)

    def draft(self, sequences: Seq[Sequence], n: int) -> None:
        """Guess the next `n` tokens of running sequences, fewer where the answer is likely to end.

        They go to the sequences' drafters. There are no guesses if there is no room for them.
        """
        rows = [self._row(sequence) for sequence in sequences]
        pending = [s.tokens[row.known :] for s, row in zip(sequences, rows, strict=True)]
        guesses: dict[int, list[int]] = {row.id: [] for row in rows}
        going = rows
        for _ in range(n):
            if not going or not (found := self._decode(going, pending)):
                break
            likely = dict(zip([row.id for row in going], found, strict=True))
            going = [row for row in going if not self._backend.vocab.is_end(likely[row.id])]
            pending = [[likely[row.id]] for row in going]
            for row in going:
                guesses[row.id].append(likely[row.id])
        for sequence, row in zip(sequences, rows, strict=True):
            row.known = min(len(sequence.tokens), len(row.tokens))
            if sequence.model_drafter:
                sequence.model_drafter.guess(guesses[row.id])

    def check_integrity(self) -> None:
        """Raise AssertionError if this record and the backend's cells differ."""
        for row in self._rows:
            if (length := self._backend.length(row.id)) != len(row.tokens):
                raise AssertionError(f"draft row {row.id} has {len(row.tokens)} tokens, the backend {length}")

    def _chunk(self, max_ms: float) -> int:
        """Tokens of one row that are computed in `max_ms`, a power of two; one while nothing is known."""
        if not self.measured:
            return 1
        chunk = MIN_CHUNK
        while chunk < self.max_tokens and self.costs.ms(2 * chunk) <= max_ms:
            chunk *= 2
        return min(chunk, self.max_tokens)

    def _decode(self, rows: Seq[DraftRow], pending: Seq[list[int]], *, output: bool = True) -> list[int]:
        """Append `pending` to `rows`; -> the most likely next token of each, or 0. Empty if that is impossible."""
        if max(map(max, pending)) >= self._vocab_size:
            return []
        self._make_room(sum(map(len, pending)))
        started = self._clock()
        self._batch.clear()
        ends = {}
        # In order, because llama.cpp computes neighbours together.
        for row, tokens in sorted(zip(rows, pending, strict=True), key=lambda pair: pair[0].id):
            ends[row.id] = self._batch.add(row.id, len(row.tokens), tokens, output=output)
        self._backend.clear_abort()
        if self._backend.decode(self._batch) is not DecodeStatus.OK:
            self._drop(rows)
            return []
        likely = []
        for row, tokens in zip(rows, pending, strict=True):
            row.tokens += tokens
            self._uses += 1
            row.last_used = self._uses
            if output:
                logits = self._backend.logits(ends[row.id])[: self._vocab_size]
                likely.append(int(logits.argmax()))
                if not np.isfinite(logits[likely[-1]]):  # it would spread through the cells
                    self._drop(self._rows)
                    self._backend.clear()
                    return []
        self.costs.record(self._batch.size, (self._clock() - started) * 1e3)
        return likely if output else [0] * len(rows)

    def _row(self, sequence: Sequence) -> DraftRow:
        """The row of a running sequence, without wrong guesses at its end."""
        row = next((row for row in self._rows if row.owner() is sequence), None) or self._assigned(sequence)
        tokens = sequence.tokens
        last = len(tokens) - 1  # it is always computed, for its logits
        n, end = min(row.known, last), min(len(row.tokens), last)
        while n < end and row.tokens[n] == tokens[n]:
            n += 1
        row.known = n
        self._cut(row, n)
        return row

    def _assigned(self, sequence: Sequence) -> DraftRow:
        """The free row with the longest prefix of the sequence, or else the one used least recently."""

        def shared(row: DraftRow) -> int:
            same = row.domain == sequence.cache_domain
            return common_prefix(row.tokens, sequence.tokens) if same else 0

        row = max(
            (row for row in self._rows if not row.running), key=lambda row: (shared(row), -row.last_used)
        )
        row.known = shared(row)
        row.owner, row.domain = weakref.ref(sequence), sequence.cache_domain
        return row

    def _make_room(self, n: int) -> None:
        """Empty idle rows of a pool that has no room for `n` more tokens, those used least recently first."""
        if self._cells is None:
            return
        idle = sorted((r for r in self._rows if not r.running and r.tokens), key=lambda r: -r.last_used)
        while idle and sum(len(row.tokens) for row in self._rows) + n > self._cells:
            self._cut(idle.pop(), 0)

    def _drop(self, rows: Iterable[DraftRow]) -> None:
        """Empty rows after a failed decode, which may have left cells behind."""
        for row in rows:
            self._backend.remove(row.id, 0)
            row.tokens, row.known = [], 0

    def _cut(self, row: DraftRow, n: int) -> None:
        if len(row.tokens) > n:
            self._backend.remove(row.id, n)
            del row.tokens[n:]
            row.known = min(row.known, n)
