"""What the assistant needs of a terminal; the command line implements it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from edgeinfer.client.stream import Chunk


class Screen(Protocol):
    """Shows the user everything that is read, proposed and done, and asks before anything is done."""

    def chunk(self, chunk: Chunk, *, text: bool) -> None:
        """Show what the model has just written. Without `text` it is data that is shown later, as a diff."""

    def end_answer(self) -> None:
        """End the line of an answer."""

    def say(self, text: str) -> None:
        """Show a line about what is going on."""

    def output(self, text: str) -> None:
        """Show a piece of a command's output."""

    def diff(self, lines: Iterable[str]) -> None:
        """Show a diff, in colours where there are any."""

    def ask(self, question: str, answers: str) -> str:
        """Return the letter of `answers` that the user types; raises EdgeinferError if nobody is there to ask."""

    def edit(self, text: str, name: str) -> str:
        """Let the user change a text in an editor."""
