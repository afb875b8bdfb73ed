"""Decides how many guessed tokens a step computes along with the certain ones (speculative decoding).

A right guess saves a step, a wrong one costs the time of a row. Which text comes out does not depend on it: each
token is sampled from its own row of logits with its own random number, and a draft only says where rows are wanted.
"""

from __future__ import annotations

from collections.abc import Sequence as Seq
from itertools import pairwise

from edgeinfer.engine.config import EngineConfig
from edgeinfer.engine.kv_cache import KVCache
from edgeinfer.engine.scheduler import ScheduledChunk
from edgeinfer.engine.step_costs import StepCosts

MIN_GAIN = 1.03
"""Expected gain in speed from which a draft is tried; below it, a wrong estimate would cost more."""


class Speculator:
    """Adds drafts to the chunks of a step, and learns what they cost."""

    def __init__(self, cache: KVCache, config: EngineConfig) -> None:
        self._cache = cache
        self._max_draft = config.max_draft
        self._streams = config.layout == "streams"
        self._batch = config.batch
        self._costs = StepCosts()

    def extend(self, chunks: list[ScheduledChunk]) -> list[ScheduledChunk]:
        """The chunks with the drafts that pay; there are none while a prompt is computed."""
        if not self._max_draft or not all(chunk.output and chunk.sequence.decoding for chunk in chunks):
            return chunks
        room = self._batch - sum(chunk.num_tokens for chunk in chunks)
        drafts = [self._draft(chunk, min(self._max_draft, room)) for chunk in chunks]
        if not any(drafts):
            return chunks
        lengths = self._best_lengths(chunks, drafts, room)
        return [
            chunk._replace(draft=tuple(draft[:n])) if n and self._reserve(chunk, n) else chunk
            for chunk, draft, n in zip(chunks, drafts, lengths, strict=True)
        ]

    def record(self, chunks: Seq[ScheduledChunk], ms: float) -> None:
        """A decode of these chunks, none of them of a prompt, took `ms`."""
        if len(passes := self._passes([c.num_tokens + len(c.draft) for c in chunks])) == 1:
            self._costs.record(passes[0], ms)

    def _draft(self, chunk: ScheduledChunk, limit: int) -> list[int]:
        sequence = chunk.sequence
        if sequence.drafter is None:
            return []
        left = self._cache.ctx - len(sequence.tokens)
        if sequence.request.params.max_tokens is not None:
            left = min(left, sequence.request.params.max_tokens - sequence.num_output_tokens)
        return sequence.drafter.draft(max(0, min(limit, left - 1)))

    def _reserve(self, chunk: ScheduledChunk, n: int) -> bool:
        assert chunk.sequence.slot is not None
        return self._cache.reserve(chunk.sequence.slot, chunk.num_tokens + n)

    def _best_lengths(
        self, chunks: Seq[ScheduledChunk], drafts: Seq[list[int]], room: int
    ) -> tuple[int, ...]:
        """The length of each draft with which the step adds the most tokens for its time."""
        none = (0,) * len(chunks)
        best, best_speed = none, MIN_GAIN * self._speed(chunks, none)
        # In streams, answers with drafts of one length are computed together.
        for longest in range(1, max(map(len, drafts)) + 1):
            lengths = tuple(min(longest, len(draft)) for draft in drafts)
            if sum(lengths) > min(room, self._max_draft):
                break
            if (speed := self._speed(chunks, lengths)) > best_speed:
                best, best_speed = lengths, speed
        return best

    def _speed(self, chunks: Seq[ScheduledChunk], lengths: Seq[int]) -> float:
        """Tokens that the step is expected to add, for each ms."""
        tokens = 0.0
        for chunk, n in zip(chunks, lengths, strict=True):
            drafter = chunk.sequence.drafter
            p = drafter.acceptance if drafter else 0.0
            tokens += (1 - p ** (n + 1)) / (1 - p) if p < 1 else n + 1
        rows = self._passes([chunk.num_tokens + n for chunk, n in zip(chunks, lengths, strict=True)])
        ms = sum(map(self._costs.ms, rows))
        return tokens / ms if ms else 0.0

    def _passes(self, sizes: Seq[int]) -> list[int]:
        """Tokens of each pass over the weights. In streams, a pass has as many tokens of each sequence."""
        if not self._streams:
            return [sum(sizes)]
        ends = sorted({0, *sizes})
        return [(end - start) * sum(size >= end for size in sizes) for start, end in pairwise(ends)]
