"""An answer's thinking, bounded: followed in the text, and ended when its budget is used up."""

from __future__ import annotations

from edgeinfer.inference.structured_output import ThinkingBudget


class ThinkingTracker:
    """Follows one answer. It thinks from the start, if the prompt opened the thinking, or if it begins so.

    `closing` are the tokens that end the thinking.
    """

    def __init__(self, budget: ThinkingBudget, closing: list[int]) -> None:
        self._budget = budget
        self._begin, self._end = budget.begin.encode(), budget.end.encode()
        self.closing = closing
        self._text = b""
        self._opened = budget.opened
        self._tokens = 0
        self._ended = False

    @property
    def active(self) -> bool:
        """The answer is thinking."""
        return self._opened and not self._ended

    @property
    def spent(self) -> bool:
        """It has been thinking for long enough."""
        return self.active and self._tokens >= self._budget.tokens

    def push(self, piece: bytes) -> None:
        """A token of the answer."""
        if self._ended:
            return
        self._text += piece
        if not self._opened:
            self._open()
            return
        self._tokens += 1
        self._ended = self._end in self._text
        self._text = self._text[-len(self._end) :]

    def close(self) -> list[int]:
        """What is to be written now, to end it."""
        self._ended = True
        return list(self.closing)

    def _open(self) -> None:
        """Does the answer begin with the tag? White space before it does not count."""
        begun = self._text.lstrip()
        self._opened = begun.startswith(self._begin)
        self._ended = not self._begin.startswith(begun) and not self._opened
