"""Decides how many guessed tokens a step computes along with the certain ones (speculative decoding).

A right guess saves a step, a wrong one costs the time of a row. Which text comes out does not depend on it: each
token is sampled from its own row of logits with its own random number, and a draft only says where rows are wanted.

What an answer repeats is guessed at no cost. Guesses of a draft model take its time, so they are made where they pay.
"""

from __future__ import annotations

from collections.abc import Sequence as Seq
from itertools import pairwise
from typing import NamedTuple

from edgeinfer.engine.config import EngineConfig
from edgeinfer.engine.draft_model import DraftModel, ModelDrafter
from edgeinfer.engine.drafter import Drafter, DraftKind, NgramDrafter
from edgeinfer.engine.kv_cache import KVCache
from edgeinfer.engine.scheduler import ScheduledChunk
from edgeinfer.engine.sequence import Sequence
from edgeinfer.engine.step_costs import StepCosts

MIN_GAIN = 1.03
"""Expected gain in speed from which a draft is tried; below it, a wrong estimate would cost more."""

LENGTHS = (1, 2, 3, 4, 5, 6, 7, 8, 12, 16)
"""Lengths of a draft model's drafts to choose from."""

MAX_LAG = 16
"""Tokens that a draft model computes before its first guess. More are computed in steps before."""

CATCH_UP_SHARE = 0.25
"""Share of a step's time that a draft model may take to catch up with an answer: other answers wait for it."""

TRIAL_SHARE = 0.03
"""Share of an answer's time that goes into trying again a draft model that does not pay."""

TRIAL = 4
"""Guesses of such a trial."""


class DraftTokens(NamedTuple):
    """Guessed tokens, and the probability of each to be right if all before it are."""

    tokens: list[int]
    acceptance: float = 0.0
    kind: DraftKind = "ngram"


class Speculator:
    """Adds drafts to the chunks of a step, and learns what they cost."""

    def __init__(self, cache: KVCache, config: EngineConfig, model: DraftModel | None = None) -> None:
        self._cache = cache
        # Wrong guesses are cut off again, which not every model can do.
        self._max_draft = config.max_draft if cache.backend.removes_tails else 0
        self._by_row = config.determinism == "by_row"
        self._streams = config.layout == "streams"
        self._batch = config.batch
        self._costs = StepCosts()
        self._model = model

    def start(self, sequence: Sequence) -> None:
        """Give a new sequence its drafters, to which its partial answer is still to be pushed."""
        request = sequence.request
        if self._max_draft and (self._by_row or not request.reproducible):
            sequence.drafter = NgramDrafter(request.tokens, request.prediction, self._cache.ctx)
            sequence.model_drafter = ModelDrafter(self._model) if self._model else None

    def extend(self, chunks: list[ScheduledChunk]) -> list[ScheduledChunk]:
        """The chunks with the drafts that pay; there are none while a prompt is computed."""
        if not self._max_draft or not all(chunk.output and chunk.sequence.decoding for chunk in chunks):
            return chunks
        room = min(self._max_draft, self._batch - sum(chunk.num_tokens for chunk in chunks))
        drafts = [self._draft(chunk, chunk.sequence.drafter, room) for chunk in chunks]
        if any(draft.tokens for draft in drafts):
            lengths = self._best_lengths(chunks, drafts, room)
            drafts = [d._replace(tokens=d.tokens[:n]) for d, n in zip(drafts, lengths, strict=True)]
        elif self._model is None:
            return chunks
        if self._model:
            self._ask(self._model, chunks, drafts, room)
        return [
            chunk._replace(draft=tuple(draft.tokens), draft_kind=draft.kind)
            if draft.tokens and self._reserve(chunk, len(draft.tokens))
            else chunk
            for chunk, draft in zip(chunks, drafts, strict=True)
        ]

    def record(self, chunks: Seq[ScheduledChunk], ms: float) -> None:
        """A decode of these chunks, none of them of a prompt, took `ms`."""
        if len(passes := self._passes([c.num_tokens + len(c.draft) for c in chunks])) == 1:
            self._costs.record(passes[0], ms)

    def _draft(self, chunk: ScheduledChunk, drafter: Drafter | None, limit: int) -> DraftTokens:
        if drafter is None:
            return DraftTokens([])
        return DraftTokens(drafter.draft(min(limit, self._left(chunk))), drafter.acceptance, drafter.kind)

    def _left(self, chunk: ScheduledChunk) -> int:
        """Guesses that the answer has room for."""
        sequence = chunk.sequence
        left = self._cache.ctx - len(sequence.tokens)
        if sequence.request.params.max_tokens is not None:
            left = min(left, sequence.request.params.max_tokens - sequence.num_output_tokens)
        return max(0, left - 1)

    def _reserve(self, chunk: ScheduledChunk, n: int) -> bool:
        assert chunk.sequence.slot is not None
        return self._cache.reserve(chunk.sequence.slot, chunk.num_tokens + n)

    def _best_lengths(self, chunks: Seq[ScheduledChunk], drafts: Seq[DraftTokens], room: int) -> list[int]:
        """The length of each draft with which the step adds the most tokens for its time."""
        none, accept = [0] * len(chunks), [draft.acceptance for draft in drafts]
        best, best_speed = none, MIN_GAIN * self._speed(chunks, none, accept)
        # In streams, answers with drafts of one length are computed together.
        for longest in range(1, max(len(draft.tokens) for draft in drafts) + 1):
            lengths = [min(longest, len(draft.tokens)) for draft in drafts]
            if sum(lengths) > room:
                break
            if (speed := self._speed(chunks, lengths, accept)) > best_speed:
                best, best_speed = lengths, speed
        return best

    # --- the draft model

    def _ask(
        self, model: DraftModel, chunks: Seq[ScheduledChunk], drafts: list[DraftTokens], room: int
    ) -> None:
        """Put the model's drafts in place of those that it is expected to surpass, if that pays."""
        ready: list[int] = []
        late: list[int] = []
        for i, (chunk, draft) in enumerate(zip(chunks, drafts, strict=True)):
            drafter = chunk.sequence.model_drafter
            if drafter and not (draft.tokens and draft.acceptance >= drafter.acceptance):
                (ready if model.lag(chunk.sequence) <= MAX_LAG else late).append(i)
        if ready:
            self._use(model, ready, chunks, drafts, room)
        if late:
            self._catch_up(model, ready, late, chunks, drafts, room)

    def _use(
        self,
        model: DraftModel,
        ready: list[int],
        chunks: Seq[ScheduledChunk],
        drafts: list[DraftTokens],
        room: int,
    ) -> None:
        """Draft for as many of the `ready` chunks as pay, those with the most right guesses first."""
        ready.sort(key=lambda i: -_drafter(chunks[i]).acceptance)
        best: list[int] = []
        best_n, best_speed = 0, MIN_GAIN * self._speed_with(model, [], 0, chunks, drafts)
        for count in range(1, len(ready) + 1):
            chosen = ready[:count]
            for n in self._lengths(model, chosen, chunks, drafts, room):
                speed = self._speed_with(model, chosen, n, chunks, drafts)
                if speed > best_speed:
                    best, best_n, best_speed = chosen, n, speed
        if not best and (tried := [i for i in ready if _drafter(chunks[i]).on_trial][:1]):
            best = tried
            best_n = max(self._lengths(model, tried, chunks, drafts, min(room, TRIAL)), default=0)
        if best_n:
            model.draft([chunks[i].sequence for i in best], best_n)
        for i in best:
            drafts[i] = self._draft(chunks[i], _drafter(chunks[i]), best_n)

    def _catch_up(
        self,
        model: DraftModel,
        ready: list[int],
        late: list[int],
        chunks: Seq[ScheduledChunk],
        drafts: Seq[DraftTokens],
        room: int,
    ) -> None:
        """Let the model read a part of one answer that it has not seen, once that is expected to have paid.

        How long an answer will be is unknown. So it first earns, with what guesses would have saved, what reading
        costs; where they would save nothing, with a small share of its time.
        """
        if not model.measured:
            model.catch_up(chunks[late[0]].sequence, 0.0)
            return
        ms = self._costs.ms(sum(chunk.num_tokens for chunk in chunks))
        saved = ms * max(TRIAL_SHARE, self._gain(model, ready + late, chunks, drafts, room)) / len(late)
        for i in late:
            drafter = _drafter(chunks[i])
            drafter.saved_ms += saved
            cost = model.catch_up_ms(model.lag(chunks[i].sequence)) + model.draft_ms([1], TRIAL)
            drafter.catching_up |= drafter.saved_ms >= cost
        if not (behind := [i for i in late if _drafter(chunks[i]).catching_up]):
            return
        nearest = min(behind, key=lambda i: model.lag(chunks[i].sequence))
        sequence, drafter = chunks[nearest].sequence, _drafter(chunks[nearest])
        before = model.lag(sequence)
        model.catch_up(sequence, CATCH_UP_SHARE * ms)
        after = model.lag(sequence)
        if after <= MAX_LAG or after >= before:  # there, or there was no room
            drafter.catching_up, drafter.on_trial, drafter.saved_ms = False, after <= MAX_LAG, 0.0

    def _gain(
        self,
        model: DraftModel,
        candidates: list[int],
        chunks: Seq[ScheduledChunk],
        drafts: Seq[DraftTokens],
        room: int,
    ) -> float:
        """Share of the time that the model would save if it had read all these answers."""
        candidates = sorted(candidates, key=lambda i: -_drafter(chunks[i]).acceptance)[: max(1, room)]
        lengths = self._lengths(model, candidates, chunks, drafts, room)
        best = max(
            (self._speed_with(model, candidates, n, chunks, drafts, lag=1) for n in lengths), default=0
        )
        return 1 - self._speed_with(model, [], 0, chunks, drafts) / best if best else 0.0

    def _lengths(
        self,
        model: DraftModel,
        chosen: Seq[int],
        chunks: Seq[ScheduledChunk],
        drafts: Seq[DraftTokens],
        room: int,
    ) -> list[int]:
        """Possible lengths of the model's drafts for the chosen chunks."""
        left = room - sum(len(draft.tokens) for i, draft in enumerate(drafts) if i not in chosen)
        most = min(left // len(chosen), max(self._left(chunks[i]) for i in chosen))
        if MAX_LAG * len(chosen) > model.max_tokens:
            return []
        return [n for n in LENGTHS if n <= most]

    def _speed_with(
        self,
        model: DraftModel,
        chosen: Seq[int],
        n: int,
        chunks: Seq[ScheduledChunk],
        drafts: Seq[DraftTokens],
        *,
        lag: int = 0,
    ) -> float:
        """Tokens for each ms with `n` guesses of the model for the chosen chunks; `lag`: what it first reads of each."""
        lengths = [len(draft.tokens) for draft in drafts]
        accept = [draft.acceptance for draft in drafts]
        for i in chosen:
            lengths[i] = min(n, self._left(chunks[i]))
            accept[i] = _drafter(chunks[i]).acceptance
        lags = [lag or model.lag(chunks[i].sequence) for i in chosen]
        return self._speed(chunks, lengths, accept, model.draft_ms(lags, n) if lags else 0.0)

    # --- costs

    def _speed(
        self, chunks: Seq[ScheduledChunk], lengths: Seq[int], acceptances: Seq[float], more_ms: float = 0.0
    ) -> float:
        """Tokens that the step is expected to add, for each ms; `more_ms`: time that the drafts take."""
        tokens = sum(
            (1 - p ** (n + 1)) / (1 - p) if p < 1 else n + 1
            for p, n in zip(acceptances, lengths, strict=True)
        )
        rows = self._passes([chunk.num_tokens + n for chunk, n in zip(chunks, lengths, strict=True)])
        ms = sum(map(self._costs.ms, rows))
        return tokens / (ms + more_ms) if ms else 0.0

    def _passes(self, sizes: Seq[int]) -> list[int]:
        """Tokens of each pass over the weights. In streams, a pass has as many tokens of each sequence."""
        if not self._streams:
            return [sum(sizes)]
        ends = sorted({0, *sizes})
        return [(end - start) * sum(size >= end for size in sizes) for start, end in pairwise(ends)]


def _drafter(chunk: ScheduledChunk) -> ModelDrafter:
    drafter = chunk.sequence.model_drafter
    assert drafter is not None
    return drafter
