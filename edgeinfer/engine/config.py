"""The part of a model's configuration that the engine itself obeys, with any backend."""

from __future__ import annotations

from typing import Literal

import msgspec

Layout = Literal["streams", "unified"]
"""How the KV cache is divided: a reserved stream of cells for each sequence, or one pool that all share."""

Determinism = Literal["none", "by_row", "alone"]
"""What keeps an answer from depending on what else is computed:

- by_row: the backend computes each token's logits alike to the last bit, whatever is computed with it;
- alone: it does not, so each answer is computed by itself from its first token, in steps that are always the same;
- none: nothing, and a near tie between two tokens may go another way.
"""

MAX_SEQUENCES = 256
"""llama.cpp's own limit."""


def num_slots(layout: Layout, parallel: int) -> int:
    """Sequences that the KV cache holds, running and idle.

    In streams each slot costs `ctx` cells, so only one idle slot is kept; in a pool slots cost nothing.
    """
    return min(parallel + 1 if layout == "streams" else max(16, 4 * parallel), MAX_SEQUENCES)


class EngineConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The engine's settings, all resolved: none of them means "auto".

    Attributes:
        ctx: tokens one sequence may hold, prompt and answer together.
        parallel: sequences that run at once.
        layout: division of the KV cache; "streams" reserves `ctx` cells for each slot.
        cells: size of the whole KV cache in tokens.
        batch: maximum number of tokens in one decode call; also the longest prefill chunk.
        step_ms: time limit of a step with prefill in it while answers are streaming.
        ram_cache_mb: megabytes of RAM for prefixes that had to make room in the KV cache; 0 keeps none.
        max_draft: guessed tokens that one step may compute beside the certain ones; 0 is no speculation.
        determinism: "alone" goes with `parallel` 1 and `max_draft` 0.
    """

    ctx: int = 4096
    parallel: int = 8
    layout: Layout = "streams"
    cells: int = 32768
    batch: int = 512
    step_ms: float = 250.0
    max_draft: int = 15
    ram_cache_mb: int = 0
    determinism: Determinism = "none"

    @property
    def slots(self) -> int:
        """Sequences that the KV cache holds, running and idle."""
        return num_slots(self.layout, self.parallel)

    @property
    def outputs(self) -> int:
        """Rows of logits that one decode may have."""
        return self.slots + self.max_draft
