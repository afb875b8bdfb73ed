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

from edgeinfer.engine.detokenizer import TextStream
from edgeinfer.engine.kv_cache import KVCache, Slot
from edgeinfer.engine.logprobs import LogprobStream
from edgeinfer.engine.sampler import Sampler
from edgeinfer.engine.structured.constraint import Constraint
from edgeinfer.engine.structured.thinking import Thinking
from edgeinfer.inference.output import Begun, Pending, Produced
from edgeinfer.inference.sampling import SamplingParams
from edgeinfer.inference.structured_output import UNCONSTRAINED, StructuredOutput


class Request(msgspec.Struct, frozen=True):
    """What to answer: `n` answers to the prompt's tokens. `id` is the caller's.

    `constraint` stands at the beginning of `structured.grammar`; each answer gets a copy. `produced` is empty, or
    has for each answer what another engine has written of it, None where it is complete; the request had been
    with that engine for `waited_ms`.
    """

    id: int
    tokens: list[int]
    params: SamplingParams
    n: int = 1
    structured: StructuredOutput = UNCONSTRAINED
    constraint: Constraint | None = None
    produced: tuple[Produced | None, ...] = ()
    waited_ms: float = 0.0


NEVER_LOOKED = sys.maxsize


class Status(enum.Enum):
    WAITING = "waiting"
    RUNNING = "running"
    FINISHED = "finished"


class Sequence:
    """One answer in the making. `tokens` is the prompt and what has been produced so far.

    A running sequence has the first `computed` of its tokens in the cache. The few tokens that a step brought
    forth missing is a decode step, more is a prefill.
    """

    LONGEST_RUN = 32
    """Tokens that are still computed in one step with other answers' single ones."""

    def __init__(
        self,
        request: Request,
        index: int,
        seed: int,
        order: int,
        now: float,
        thinking: Thinking | None = None,
    ) -> None:
        self.request = request
        self.index = index
        self.order = order
        self.tokens = list(request.tokens)
        self.status = Status.WAITING
        self.slot: Slot | None = None
        self.sampler = Sampler(request.params, seed, index, request.tokens)
        self.text = TextStream(request.params.stop)
        self.logprobs = LogprobStream()
        self.constraint = request.constraint.copy() if request.constraint else None
        self.thinking = thinking
        self.opening = ""  # text of the beginning that the grammar forced, before anything was sampled
        self.due: list[int] = []  # tokens that must be written next, whatever the model thinks
        self.ending = False  # with the last of `due` the answer is complete
        self.n_told = 0  # produced tokens that the caller has been told of
        self.look_at = NEVER_LOOKED  # tokens left at which to see whether the answer can still be completed
        self.bounds: list[
            int
        ] = []  # where to stop when the tokens that another engine produced are computed again
        self.cached_tokens = 0
        self.arrived = now - request.waited_ms / 1e3
        self.admitted: float | None = None
        self.first_token: float | None = None

    def __repr__(self) -> str:
        done = f"{self.computed}/{len(self.tokens)}"
        return f"<Sequence {self.request.id}.{self.index} {self.status.value} {done}>"

    @property
    def n_prompt(self) -> int:
        return len(self.request.tokens)

    @property
    def n_produced(self) -> int:
        return len(self.tokens) - self.n_prompt

    @property
    def computed(self) -> int:
        return len(self.slot.tokens) if self.slot else 0

    @property
    def missing(self) -> int:
        """Tokens whose cells are still to be computed."""
        return len(self.tokens) - self.computed

    @property
    def stretch(self) -> int:
        """Tokens that may be computed together now."""
        at = bisect_right(self.bounds, self.computed)
        return (self.bounds[at] if at < len(self.bounds) else len(self.tokens)) - self.computed

    @property
    def decoding(self) -> bool:
        """Has its prompt behind it: each step brings a token or more."""
        return 0 < self.stretch <= self.LONGEST_RUN and self.first_token is not None

    @property
    def begun(self) -> Begun | None:
        """None before the first token."""
        if self.admitted is None or self.first_token is None:
            return None
        queued, read = self.admitted - self.arrived, self.first_token - self.admitted
        return Begun(queued * 1e3, read * 1e3, self.cached_tokens)

    @property
    def pending(self) -> Pending | None:
        """None where the tokens tell everything."""
        held = self.logprobs.held
        if not self.due and not held and self.look_at == NEVER_LOOKED:
            return None
        return Pending(list(self.due), self.ending, self.look_at, held)

    def take_up(self, begun: Begun, pending: Pending | None) -> None:
        """Go on with an answer that began elsewhere; its tokens have been written already."""
        self.admitted = self.arrived + begun.queue_ms / 1e3
        self.first_token = self.admitted + begun.prompt_ms / 1e3
        self.cached_tokens = begun.cached_tokens
        if pending:
            self.due, self.ending, self.look_at = list(pending.due), pending.ending, pending.look_at

    def admit(self, slot: Slot, now: float) -> None:
        """WAITING -> RUNNING in `slot`, which may hold a prefix already."""
        self.slot = slot
        self.status = Status.RUNNING
        if self.admitted is None:
            self.admitted = now
            self.cached_tokens = min(len(slot.tokens), self.n_prompt)  # the answer's opening may be there too

    def preempt(self, cache: KVCache) -> None:
        """RUNNING -> WAITING: its cells may go, its tokens stay, and it draws the same numbers later."""
        self._leave(cache)
        self.status = Status.WAITING

    def finish(self, cache: KVCache) -> None:
        """Any -> FINISHED. What it computed stays in the cache as a prefix for others."""
        self._leave(cache)
        self.status = Status.FINISHED

    def _leave(self, cache: KVCache) -> None:
        if self.slot:
            cache.release(self.slot)
        self.slot = None
