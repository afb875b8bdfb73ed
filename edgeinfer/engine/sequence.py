"""A request, and the sequences that answer it. Every state and transition is in this file.

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
from edgeinfer.engine.draft_model import ModelDrafter
from edgeinfer.engine.drafter import NgramDrafter
from edgeinfer.engine.kv_cache import KVCache, Owner, Slot
from edgeinfer.engine.logprob_buffer import LogprobBuffer
from edgeinfer.engine.sampler import Sampler
from edgeinfer.engine.structured.constraint import Constraint
from edgeinfer.engine.structured.thinking import ThinkingTracker
from edgeinfer.inference.output import HeldState, PartialAnswer, PromptProgress, StartTimings
from edgeinfer.inference.sampling import SamplingParams
from edgeinfer.inference.structured_output import UNCONSTRAINED, StructuredOutput

NOT_CHECKED = sys.maxsize
"""A sequence's `next_close_check` before the first check: it is due at once."""


class Request(msgspec.Struct, frozen=True):
    """A tokenized prompt to answer `n` times.

    Attributes:
        id: chosen by the caller.
        constraint: at the beginning of `structured.grammar`; each answer gets a copy.
        partial_answers: empty, or what another engine has written of each answer; None marks a complete one.
        waited_ms: time that the request has already spent with that engine.
        caller: the one who asks; callers share the engine.
        cache_domain: only prompts of the same domain share prefixes.
        session: of the caller's, if any: its prefix is worth more than that of a request without one.
        prediction: what the answers are expected to repeat; only their speed depends on it.
        reproducible: compute in steps that do not depend on the machine's speed, so guess no tokens; it has no effect
            where a token's logits do not depend on what is computed with it.
    """

    id: int
    tokens: list[int]
    params: SamplingParams
    n: int = 1
    structured: StructuredOutput = UNCONSTRAINED
    constraint: Constraint | None = None
    partial_answers: tuple[PartialAnswer | None, ...] = ()
    waited_ms: float = 0.0
    caller: str = ""
    cache_domain: str = ""
    session: str = ""
    prediction: list[int] = []
    reproducible: bool = False


class SequenceStatus(enum.Enum):
    WAITING = "waiting"
    RUNNING = "running"
    FINISHED = "finished"


class Sequence:
    """One answer in progress. `tokens` holds the prompt and the output so far.

    A running sequence has its first `num_computed` tokens in the cache. Computing the few tokens that the last
    step added is a decode; computing more is a prefill.

    Attributes:
        forced_prefix: text that the grammar forced before anything was sampled; not yet sent.
        forced_tokens: tokens that must be written next, regardless of the logits.
        is_closing: the answer is complete after the last forced token.
        num_reported: output tokens that the caller has received.
        next_close_check: number of tokens left at which to check again that the answer can still be completed.
        is_resumed: another engine began it.
        replay_bounds: ends of the steps in which another engine computed its output; they are computed alike.
        drafter: guesses its next tokens; None if nothing is to be guessed.
        model_drafter: guesses them with a draft model; None if there is none.
        num_drafted, num_accepted: guessed tokens that were computed, and those that were right.
    """

    MAX_DECODE_TOKENS = 32
    """New tokens up to this number are computed in one step with the single tokens of other answers."""

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
        self.detokenizer = IncrementalDetokenizer(request.params.stop)
        self.logprobs = LogprobBuffer()
        self.constraint = request.constraint.copy() if request.constraint else None
        self.thinking = thinking
        self.forced_prefix = ""
        self.forced_tokens: list[int] = []
        self.is_closing = False
        self.num_reported = 0
        self.next_close_check = NOT_CHECKED
        self.is_resumed = False
        self.replay_bounds: list[int] = []
        self.drafter: NgramDrafter | None = None
        self.model_drafter: ModelDrafter | None = None
        self.num_drafted = self.num_accepted = 0
        self.num_cached_tokens = 0
        self.arrival_time = now - request.waited_ms / 1e3
        self.admission_time: float | None = None
        self.first_token_time: float | None = None

    def __repr__(self) -> str:
        progress = f"{self.num_computed}/{len(self.tokens)}"
        return f"<Sequence {self.request.id}.{self.index} {self.status.value} {progress}>"

    @property
    def caller(self) -> str:
        return self.request.caller

    @property
    def owner(self) -> Owner:
        return Owner(self.request.caller, self.request.session)

    @property
    def cache_domain(self) -> str:
        return self.request.cache_domain

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
        """Uncomputed tokens that may be computed together now."""
        at = bisect_right(self.replay_bounds, self.num_computed)
        end = self.replay_bounds[at] if at < len(self.replay_bounds) else len(self.tokens)
        return end - self.num_computed

    @property
    def decoding(self) -> bool:
        """The prompt is computed: each step adds at least one token to the answer."""
        return 0 < self.num_schedulable <= self.MAX_DECODE_TOKENS and self.first_token_time is not None

    @property
    def timings(self) -> StartTimings | None:
        """None before the first token."""
        if self.admission_time is None or self.first_token_time is None:
            return None
        queue = self.admission_time - self.arrival_time
        prompt = self.first_token_time - self.admission_time
        return StartTimings(queue * 1e3, prompt * 1e3, self.num_cached_tokens, self.num_prompt_tokens)

    @property
    def reports_progress(self) -> bool:
        """The caller wants to know how far the prompt is. The answers to one prompt share it: the first one tells."""
        asked = self.request.params.prompt_progress and self.index == 0
        return asked and self.first_token_time is None

    def prompt_progress(self, now: float) -> PromptProgress:
        total = self.num_prompt_tokens
        ms = (now - (self.admission_time or now)) * 1e3
        return PromptProgress(total, self.num_cached_tokens, min(self.num_computed, total), ms)

    @property
    def held_state(self) -> HeldState | None:
        """None where the tokens alone determine the state."""
        held = self.logprobs.held
        if not self.forced_tokens and not held and self.next_close_check == NOT_CHECKED:
            return None
        return HeldState(list(self.forced_tokens), self.is_closing, self.next_close_check, held)

    def resume(self, timings: StartTimings, held_state: HeldState | None) -> None:
        """Take over the state of another engine, whose output has been written to this sequence already."""
        self.is_resumed = True
        self.admission_time = self.arrival_time + timings.queue_ms / 1e3
        self.first_token_time = self.admission_time + timings.prompt_ms / 1e3
        self.num_cached_tokens = timings.cached_tokens
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
            # The slot may also hold tokens of the forced prefix, which does not belong to the prompt.
            self.num_cached_tokens = min(len(slot.tokens), self.num_prompt_tokens)

    def preempt(self, cache: KVCache) -> None:
        """RUNNING -> WAITING. Its tokens stay, its cells may go, and it draws the same random numbers later."""
        self._release_slot(cache)
        self.status = SequenceStatus.WAITING

    def finish(self, cache: KVCache) -> None:
        """Any -> FINISHED. The cells stay in the cache as a prefix for later requests."""
        self._release_slot(cache)
        self.status = SequenceStatus.FINISHED

    def _release_slot(self, cache: KVCache) -> None:
        if self.slot:
            cache.release(self.slot)
        self.slot = None
