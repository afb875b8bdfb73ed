"""A request, and the sequences that answer it: every state and transition is in this file.

WAITING ──admit──► RUNNING ──finish──► FINISHED
▲                  │
└─────preempt──────┘
"""

from __future__ import annotations

import enum
import sys

import msgspec

from edgeinfer.engine.constraint import Constraint
from edgeinfer.engine.guidance import NO_GUIDANCE, Guidance
from edgeinfer.engine.kv_cache import KVCache, Slot
from edgeinfer.engine.logprobs import LogprobStream
from edgeinfer.engine.sampler import Sampler
from edgeinfer.engine.sampling import SamplingParams
from edgeinfer.engine.text import TextStream
from edgeinfer.engine.thinking import Thinking


class Request(msgspec.Struct, frozen=True):
    """What to answer: `n` answers to the prompt's tokens. `id` is the caller's.

    `constraint` stands at the beginning of `guidance.grammar`; each answer gets a copy.
    """

    id: int
    tokens: list[int]
    params: SamplingParams
    n: int = 1
    guidance: Guidance = NO_GUIDANCE
    constraint: Constraint | None = None


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
        self.look_at = sys.maxsize  # tokens left at which to see whether the answer can still be completed
        self.cached_tokens = 0
        self.arrived = now
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
    def decoding(self) -> bool:
        """Has its prompt behind it: each step brings a token or more."""
        return 0 < self.missing <= self.LONGEST_RUN and self.first_token is not None

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
