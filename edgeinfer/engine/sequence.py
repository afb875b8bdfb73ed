"""A request, and the sequences that answer it: every state and transition is in this file.

WAITING ──admit──► RUNNING ──finish──► FINISHED
▲                  │
└─────preempt──────┘
"""

from __future__ import annotations

import enum
import sys
from bisect import bisect_right

import msgspec

from edgeinfer.engine.detokenizer import IncrementalDetokenizer
from edgeinfer.engine.kv_cache import KVCache, Slot
from edgeinfer.engine.logprobs import LogprobBuffer
from edgeinfer.engine.sampler import Sampler
from edgeinfer.engine.structured.constraint import Constraint
from edgeinfer.engine.structured.thinking import ThinkingTracker
from edgeinfer.inference.output import HeldState, PartialAnswer, StartTimings
from edgeinfer.inference.sampling import SamplingParams
from edgeinfer.inference.structured_output import UNCONSTRAINED, StructuredOutput


class Request(msgspec.Struct, frozen=True):
    """What to answer: `n` answers to the prompt's tokens. `id` is the caller's.

    `constraint` stands at the beginning of `structured.grammar`; each answer gets a copy. `partial_answers` is empty, or
    has for each answer what another engine has written of it, None where it is complete; the request had been
    with that engine for `waited_ms`.
    """

    id: int
    tokens: list[int]
    params: SamplingParams
    n: int = 1
    structured: StructuredOutput = UNCONSTRAINED
    constraint: Constraint | None = None
    partial_answers: tuple[PartialAnswer | None, ...] = ()
    waited_ms: float = 0.0


NOT_CHECKED = sys.maxsize


class SequenceStatus(enum.Enum):
    WAITING = "waiting"
    RUNNING = "running"
    FINISHED = "finished"


class Sequence:
    """One answer in the making. `tokens` is the prompt and what has been produced so far.

    A running sequence has the first `computed` of its tokens in the cache. The few tokens that a step brought
    forth missing is a decode step, more is a prefill.
    """

    MAX_DECODE_TOKENS = 32
    """Tokens that are still computed in one step with other answers' single ones."""

    def __init__(
        self,
        request: Request,
        index: int,
        seed: int,
        order: int,
        now: float,
        thinking: ThinkingTracker | None = None,
    ) -> None:
        self.request = request
        self.index = index
        self.order = order
        self.tokens = list(request.tokens)
        self.status = SequenceStatus.WAITING
        self.slot: Slot | None = None
        self.sampler = Sampler(request.params, seed, index, request.tokens)
        self.text = IncrementalDetokenizer(request.params.stop)
        self.logprobs = LogprobBuffer()
        self.constraint = request.constraint.copy() if request.constraint else None
        self.thinking = thinking
        self.forced_prefix = ""  # text of the beginning that the grammar forced, before anything was sampled
        self.forced_tokens: list[int] = []  # tokens that must be written next, whatever the model thinks
        self.is_closing = False  # with the last of `due` the answer is complete
        self.num_reported = 0  # produced tokens that the caller has been told of
        self.next_close_check = (
            NOT_CHECKED  # tokens left at which to see whether the answer can still be completed
        )
        self.replay_bounds: list[
            int
        ] = []  # where to stop when the tokens that another engine produced are computed again
        self.cached_tokens = 0
        self.arrival_time = now - request.waited_ms / 1e3
        self.admission_time: float | None = None
        self.first_token_time: float | None = None

    def __repr__(self) -> str:
        done = f"{self.num_computed}/{len(self.tokens)}"
        return f"<Sequence {self.request.id}.{self.index} {self.status.value} {done}>"

    @property
    def num_prompt_tokens(self) -> int:
        return len(self.request.tokens)

    @property
    def num_output_tokens(self) -> int:
        return len(self.tokens) - self.num_prompt_tokens

    @property
    def num_computed(self) -> int:
        return len(self.slot.tokens) if self.slot else 0

    @property
    def num_uncomputed(self) -> int:
        """Tokens whose cells are still to be computed."""
        return len(self.tokens) - self.num_computed

    @property
    def num_schedulable(self) -> int:
        """Tokens that may be computed together now."""
        at = bisect_right(self.replay_bounds, self.num_computed)
        return (
            self.replay_bounds[at] if at < len(self.replay_bounds) else len(self.tokens)
        ) - self.num_computed

    @property
    def decoding(self) -> bool:
        """Has its prompt behind it: each step brings a token or more."""
        return 0 < self.num_schedulable <= self.MAX_DECODE_TOKENS and self.first_token_time is not None

    @property
    def timings(self) -> StartTimings | None:
        """None before the first token."""
        if self.admission_time is None or self.first_token_time is None:
            return None
        queued, read = self.admission_time - self.arrival_time, self.first_token_time - self.admission_time
        return StartTimings(queued * 1e3, read * 1e3, self.cached_tokens)

    @property
    def held_state(self) -> HeldState | None:
        """None where the tokens tell everything."""
        held = self.logprobs.held
        if not self.forced_tokens and not held and self.next_close_check == NOT_CHECKED:
            return None
        return HeldState(list(self.forced_tokens), self.is_closing, self.next_close_check, held)

    def resume(self, timings: StartTimings, held_state: HeldState | None) -> None:
        """Go on with an answer that began elsewhere; its tokens have been written already."""
        self.admission_time = self.arrival_time + timings.queue_ms / 1e3
        self.first_token_time = self.admission_time + timings.prompt_ms / 1e3
        self.cached_tokens = timings.cached_tokens
        if held_state:
            self.forced_tokens = list(held_state.forced_tokens)
            self.is_closing = held_state.is_closing
            self.next_close_check = held_state.next_close_check

    def admit(self, slot: Slot, now: float) -> None:
        """WAITING -> RUNNING in `slot`, which may hold a prefix already."""
        self.slot = slot
        self.status = SequenceStatus.RUNNING
        if self.admission_time is None:
            self.admission_time = now
            self.cached_tokens = min(
                len(slot.tokens), self.num_prompt_tokens
            )  # the answer's opening may be there too

    def preempt(self, cache: KVCache) -> None:
        """RUNNING -> WAITING: its cells may go, its tokens stay, and it draws the same numbers later."""
        self._leave(cache)
        self.status = SequenceStatus.WAITING

    def finish(self, cache: KVCache) -> None:
        """Any -> FINISHED. What it computed stays in the cache as a prefix for others."""
        self._leave(cache)
        self.status = SequenceStatus.FINISHED

    def _leave(self, cache: KVCache) -> None:
        if self.slot:
            cache.release(self.slot)
        self.slot = None
