"""Requests to the model and the answers so far. They outlive the workers that compute them."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence

from msgspec.structs import replace

from edgeinfer.backends.llama_cpp.messages import Generate, WorkerMessage
from edgeinfer.backends.supervision.crash_holds import Activity
from edgeinfer.backends.supervision.request import InFlightRequest
from edgeinfer.engine.config import Determinism
from edgeinfer.inference.output import Delta, HeldState, PartialAnswer, StartTimings
from edgeinfer.inference.sampling import SamplingParams
from edgeinfer.inference.structured_output import UNCONSTRAINED, StructuredOutput
from edgeinfer.inference.types import Prompt


class WorkerRequest(InFlightRequest):
    """A request to a worker. `message` makes what is sent, under the id that the request has there."""

    def __init__(
        self,
        make: Callable[[int], WorkerMessage],
        revision: str | None = None,
        activity: Activity = Activity("", "this"),
    ) -> None:
        super().__init__(revision, activity)
        self.message = make

    @property
    def unfinished(self) -> int:
        """Terminal replies that are still to come."""
        return 1


class ResumableGeneration(WorkerRequest):
    """Answers that are being generated. A worker that gets `message` computes only what is missing of them.

    `accepted_at`: when the request was accepted, by the monotonic clock; the time since then counts as queue time.
    `partial_answers`: what another engine has generated already, see `Generate`.
    `determinism`: what makes sure that the text is the same again.
    """

    def __init__(
        self,
        prompt: Prompt,
        params: SamplingParams,
        n: int = 1,
        add_bos: bool = True,
        structured: StructuredOutput = UNCONSTRAINED,
        revision: str | None = None,
        accepted_at: float | None = None,
        caller: str = "",
        cache_domain: str = "",
        session: str = "",
        partial_answers: Sequence[PartialAnswer | None] = (),
        determinism: Determinism = "none",
    ) -> None:
        super().__init__(self._message, revision, Activity(caller, "generating text"))
        self._accepted_at = time.monotonic() if accepted_at is None else accepted_at
        # A caller who gives a seed expects the same text again. That may take the steps of the first time.
        same_steps = determinism == "alone" or (determinism == "none" and params.seed is not None)
        self._exact = same_steps and all(_has_steps(partial) for partial in partial_answers)
        # How many tokens are guessed at a time follows from measured times, and several rows may not be rounded as one is.
        reproducible = params.seed is not None and not params.prediction
        if params.seed is None:  # every worker must draw the same numbers
            params = replace(params, seed=secrets.randbits(63))
        self._request = Generate(
            0,
            prompt,
            params,
            n,
            add_bos,
            structured,
            caller=caller,
            cache_domain=cache_domain,
            session=session,
            reproducible=reproducible,
        )
        self._answers: list[_AnswerProgress | None] = [
            _AnswerProgress(partial) if partial else None
            for partial in partial_answers or [PartialAnswer()] * n
        ]
        self._replaying = False  # the worker computes the tokens again in the steps of the first time
        self._replay_failed = False  # the next worker has to be fast

    @property
    def unfinished(self) -> int:
        return sum(answer is not None for answer in self._answers)

    @property
    def has_output(self) -> bool:
        return any(answer is None or answer.tokens for answer in self._answers)

    @property
    def awaits_progress(self) -> bool:
        return super().awaits_progress or self._replaying or self._replay_failed

    def on_crash(self, alone: bool, killed: bool = False) -> None:
        """While tokens are computed again, a crash is no evidence the first time: that takes long.

        A worker that is killed meanwhile is followed by one that goes on from its copies.
        """
        if self._replaying:
            self._replay_failed = not killed or self.kills == self.MAX_KILLS
        if killed or not self._replaying:
            super().on_crash(alone, killed)
        self._replaying = False

    def on_progress(self) -> None:
        super().on_progress()
        self._replaying = self._replay_failed = False

    def note(self, delta: Delta) -> None:
        """Take down a delta that goes to the caller."""
        answer = self._answers[delta.index]
        assert answer is not None, f"{delta} came after the end"
        if delta.progress:  # a worker that resumes the request reports it again
            return
        if delta.finish:
            self._answers[delta.index] = None
        else:
            answer.add(delta)

    def _message(self, id: int) -> WorkerMessage:
        partial_answers: tuple[PartialAnswer | None, ...] = ()
        if self.has_output:
            self._replaying = self._exact and not self._replay_failed
            partial_answers = tuple(a.partial(self._replaying) if a else None for a in self._answers)
        waited_ms = (time.monotonic() - self._accepted_at) * 1e3
        return replace(self._request, id=id, partial_answers=partial_answers, waited_ms=waited_ms)


class _AnswerProgress:
    """An answer that is not complete."""

    def __init__(self, begun: PartialAnswer) -> None:
        self.tokens = list(begun.tokens)
        self._step_sizes = list(begun.step_sizes)
        self._timings: StartTimings | None = begun.timings
        self._held_state: HeldState | None = begun.held_state

    def partial(self, exact: bool) -> PartialAnswer:
        return PartialAnswer(self.tokens, self._timings, self._held_state, self._step_sizes if exact else [])

    def add(self, delta: Delta) -> None:
        self.tokens += delta.tokens
        if delta.num_accepted:
            self._step_sizes[-1] += delta.num_accepted
        self._step_sizes.append(len(delta.tokens) - delta.num_accepted)
        self._timings = self._timings or delta.timings
        self._held_state = delta.held_state


def _has_steps(partial: PartialAnswer | None) -> bool:
    """Whether the steps are known in which its tokens were computed."""
    return partial is None or bool(partial.step_sizes) or not partial.tokens
