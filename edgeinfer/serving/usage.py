"""The cost of a request in tokens and time."""

from __future__ import annotations

from edgeinfer.inference.output import Finish


class RequestUsage:
    """Adds up the `Finish` of every answer. The n answers to one prompt share it, so it counts once."""

    def __init__(self, prompts: int = 1, n: int = 1) -> None:
        self._n = n
        self._finished: list[list[Finish]] = [[] for _ in range(prompts)]
        self._by_answer: dict[int, Finish] = {}

    def add(self, index: int, finish: Finish) -> None:
        """Count the answer with this index."""
        self._finished[index // self._n].append(finish)
        self._by_answer[index] = finish

    def of(self, index: int) -> Finish:
        """The end of the answer with this index. Raises KeyError before it."""
        return self._by_answer[index]

    @property
    def prompt_tokens(self) -> int:
        return sum(max(f.prompt_tokens for f in answers) for answers in self._finished if answers)

    @property
    def cached_tokens(self) -> int:
        """Tokens of the prompts that were cached before the request.

        The first answer computes the prompt, and the others find it in the cache.
        """
        return sum(min(f.cached_tokens for f in answers) for answers in self._finished if answers)

    @property
    def completion_tokens(self) -> int:
        return sum(f.completion_tokens for f in self._all)

    @property
    def drafted_tokens(self) -> int:
        """Tokens that were guessed and computed."""
        return sum(f.drafted_tokens for f in self._all)

    @property
    def accepted_tokens(self) -> int:
        """Tokens that were guessed right."""
        return sum(f.accepted_tokens for f in self._all)

    @property
    def queue_ms(self) -> float:
        return max((f.queue_ms for f in self._all), default=0.0)

    @property
    def prompt_ms(self) -> float:
        """The longest time that an answer took to read its prompt."""
        return max((f.prompt_ms for f in self._all), default=0.0)

    @property
    def predicted_ms(self) -> float:
        """The longest time that an answer took to generate; several are generated at once."""
        return max((f.predicted_ms for f in self._all), default=0.0)

    @property
    def models(self) -> list[str]:
        """Descriptions of the model files that have written an answer, where they were several."""
        return list(dict.fromkeys(model for finish in self._all for model in finish.models))

    @property
    def _all(self) -> list[Finish]:
        return [finish for answers in self._finished for finish in answers]
