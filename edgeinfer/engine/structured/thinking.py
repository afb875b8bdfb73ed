"""Limits the thinking of an answer to a budget of tokens."""

from __future__ import annotations

from edgeinfer.inference.structured_output import ThinkingBudget


class ThinkingTracker:
    """Follows one answer. It thinks if the prompt opened the thinking, or if it begins with the tag.

    `closing_tokens` end the thinking.
    """

    def __init__(self, budget: ThinkingBudget, closing_tokens: list[int]) -> None:
        self._budget = budget
        self._begin, self._end = budget.begin.encode(), budget.end.encode()
        self.closing_tokens = closing_tokens
        self._text = b""
        self._opened = budget.opened
        self._num_tokens = 0
        self._ended = False

    @property
    def active(self) -> bool:
        """The answer is thinking."""
        return self._opened and not self._ended

    @property
    def exhausted(self) -> bool:
        """The answer is thinking and has used up its budget."""
        return self.active and self._num_tokens >= self._budget.tokens

    def push(self, piece: bytes) -> None:
        """Follow a token of the answer, given as its bytes."""
        if self._ended:
            return
        self._text += piece
        if not self._opened:
            self._look_for_begin()
            return
        self._num_tokens += 1
        self._ended = self._end in self._text
        self._text = self._text[-len(self._end) :]

    def close(self) -> list[int]:
        """End the thinking; -> the tokens to write for it."""
        self._ended = True
        return list(self.closing_tokens)

    def _look_for_begin(self) -> None:
        """See if the answer begins with the tag. White space before it does not count."""
        start = self._text.lstrip()
        self._opened = start.startswith(self._begin)
        self._ended = not self._begin.startswith(start) and not self._opened
