"""What a request cost: usage as OpenAI counts it, timings as llama-server has them."""

from __future__ import annotations

from collections.abc import Sequence

from edgeinfer.inference.output import Finish
from edgeinfer.server.openai.types import PromptDetails, Timings, Usage


class Accounting:
    """Sums the `Finish` of every answer. The n answers to one prompt share it, so it counts once."""

    def __init__(self, prompts: int, n: int) -> None:
        self._n = n
        self._finished: list[list[Finish]] = [[] for _ in range(prompts)]

    def add(self, choice: int, finish: Finish) -> None:
        self._finished[choice // self._n].append(finish)

    @property
    def _all(self) -> list[Finish]:
        return [finish for answers in self._finished for finish in answers]

    def _prompt_tokens(self) -> int:
        return sum(max(f.prompt_tokens for f in answers) for answers in self._finished if answers)

    def _cached_tokens(self) -> int:
        # The first answer reads the prompt, the others find it cached: only what the first found was saved.
        return sum(min(f.cached_tokens for f in answers) for answers in self._finished if answers)

    def usage(self) -> Usage:
        prompt, completion = self._prompt_tokens(), sum(f.completion_tokens for f in self._all)
        return Usage(prompt, completion, prompt + completion, PromptDetails(self._cached_tokens()))

    def timings(self) -> Timings:
        """With several answers at once the times are the longest of theirs, so rates are the request's own."""
        cached, finished = self._cached_tokens(), self._all
        prompt_n, predicted_n = self._prompt_tokens() - cached, sum(f.completion_tokens for f in finished)
        prompt_ms = _longest([f.prompt_ms for f in finished])
        predicted_ms = _longest([f.predicted_ms for f in finished])
        return Timings(
            cache_n=cached,
            prompt_n=prompt_n,
            prompt_ms=prompt_ms,
            prompt_per_second=_rate(prompt_n, prompt_ms),
            predicted_n=predicted_n,
            predicted_ms=predicted_ms,
            predicted_per_second=_rate(predicted_n, predicted_ms),
            queue_ms=_longest([f.queue_ms for f in finished]),
        )


def _longest(times: Sequence[float]) -> float:
    return round(max(times, default=0.0), 3)


def _rate(count: int, ms: float) -> float:
    return round(1000 * count / ms, 3) if ms > 0 else 0.0
