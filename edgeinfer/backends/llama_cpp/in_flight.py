"""What the daemon asks of the model, and what has come of it so far. It outlives the workers that work on it."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable

from msgspec.structs import replace

from edgeinfer.backends.llama_cpp.messages import Generate, Message
from edgeinfer.inference.output import Delta, HeldState, PartialAnswer, StartTimings
from edgeinfer.inference.sampling import SamplingParams
from edgeinfer.inference.structured_output import UNCONSTRAINED, StructuredOutput
from edgeinfer.inference.types import Prompt


class Asked:
    """A question. `message` is what to send to a worker, under the id that it has there.

    Attributes:
        deaths: workers in a row that died while they were at work on it, and had not brought it any further.
        alone: of these, those that it was alone with, or on trial.
        guilty: the death that it is to blame for.
    """

    def __init__(self, make: Callable[[int], Message]) -> None:
        self.message = make
        self.deaths = 0
        self.alone = 0
        self.guilty: str | None = None

    @property
    def begun(self) -> bool:
        """A part of the answer is there."""
        return False

    @property
    def troubled(self) -> bool:
        """A worker died over it, and the next one has not brought it further yet."""
        return self.deaths > 0

    def died(self, alone: bool) -> None:
        """A worker did, while it was at work on it."""
        self.deaths += 1
        self.alone += alone

    def advance(self) -> None:
        """It has been brought further."""
        self.deaths = self.alone = 0


class Generation(Asked):
    """Answers in the making. Whoever takes `message` to a worker gets what is missing of them, and no more."""

    def __init__(
        self,
        prompt: Prompt,
        params: SamplingParams,
        n: int = 1,
        add_bos: bool = True,
        structured: StructuredOutput = UNCONSTRAINED,
    ) -> None:
        super().__init__(self._message)
        self._exact = params.seed is not None  # whoever gave one wants to see the same text again
        if params.seed is None:  # every worker must draw the same numbers
            params = replace(params, seed=secrets.randbits(63))
        self._request = Generate(0, prompt, params, n, add_bos, structured)
        self._answers: list[_Answer | None] = [_Answer() for _ in range(n)]
        self._sent: float | None = None
        self._repeating = False  # a worker computes what was produced as it was computed before
        self._hurried = False  # it died over that; now it has to be fast

    @property
    def left(self) -> int:
        """Answers that are not complete."""
        return sum(answer is not None for answer in self._answers)

    @property
    def begun(self) -> bool:
        return any(answer is None or answer.tokens for answer in self._answers)

    @property
    def troubled(self) -> bool:
        return super().troubled or self._repeating or self._hurried

    def died(self, alone: bool) -> None:
        if self._repeating:  # which takes so long that whoever kills workers may well come again: no evidence
            self._repeating, self._hurried = False, True
        else:
            super().died(alone)

    def advance(self) -> None:
        super().advance()
        self._repeating = self._hurried = False

    def note(self, delta: Delta) -> None:
        """`delta` is on its way to the caller."""
        answer = self._answers[delta.index]
        assert answer is not None, f"{delta} came after the end"
        if delta.finish:
            self._answers[delta.index] = None
        else:
            answer.add(delta)

    def _message(self, id: int) -> Message:
        now = time.monotonic()
        if self._sent is None:
            self._sent = now
        produced: tuple[PartialAnswer | None, ...] = ()
        if self.begun:
            self._repeating = self._exact and not self._hurried
            produced = tuple(a.produced(self._repeating) if a else None for a in self._answers)
        return replace(self._request, id=id, produced=produced, waited_ms=(now - self._sent) * 1e3)


class _Answer:
    """One that is not complete."""

    def __init__(self) -> None:
        self.tokens: list[int] = []
        self._runs: list[int] = []
        self._begun: StartTimings | None = None
        self._pending: HeldState | None = None

    def produced(self, exact: bool) -> PartialAnswer:
        return PartialAnswer(self.tokens, self._begun, self._pending, self._runs if exact else [])

    def add(self, delta: Delta) -> None:
        self.tokens += delta.tokens
        self._runs.append(len(delta.tokens))
        self._begun = self._begun or delta.timings
        self._pending = delta.held_state
