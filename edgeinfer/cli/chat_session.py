"""A conversation with a model: its turns so far, and asking for the next one."""

from __future__ import annotations

from typing import Any

import httpx

from edgeinfer.cli import terminal
from edgeinfer.client.http import Target
from edgeinfer.client.stream import AnswerStats, Chunk, complete, stream
from edgeinfer.errors import InvalidRequest

Message = dict[str, Any]


class ChatSession:
    """Keeps the turns of a conversation and asks for the next answer.

    Attributes:
        fields: what every request has beside its messages, such as the model; the server decides about the rest.
        default_model: the model that answers if `fields` names none, as far as that is known.
        turns: messages of users and of the model, without the system's.
    """

    def __init__(
        self, client: httpx.Client, target: Target, fields: dict[str, Any], system: str | None
    ) -> None:
        self.client = client
        self.target = target
        self.fields = fields
        self.system = system
        self.default_model: str | None = None
        self.turns: list[Message] = []

    @property
    def model(self) -> str | None:
        """The name of the model that answers, as far as it is known."""
        return self.fields.get("model") or self.default_model

    def messages(self) -> list[Message]:
        """Return the whole conversation."""
        system = [{"role": "system", "content": self.system}] if self.system else []
        return [*system, *self.turns]

    def body(self, prompt: str) -> dict[str, Any]:
        """Return the request that asks for the answer to `prompt`."""
        return {**self.fields, "messages": [*self.messages(), {"role": "user", "content": prompt}]}

    def print_json(self, prompt: str) -> None:
        """Print the server's whole answer object."""
        terminal.write(complete(self.client, self.target, self.body(prompt)).decode().rstrip("\n") + "\n")

    def ask(self, prompt: str) -> None:
        """Print the answer as it arrives and remember it, also the part that precedes a Ctrl-C."""
        printer, stats = AnswerPrinter(), AnswerStats()
        chunks = stream(self.client, self.target, self.body(prompt), stats)
        try:
            for chunk in chunks:
                printer.add(chunk)
        finally:
            chunks.close()  # closes the connection, which tells the daemon to stop computing
            printer.end()
            if printer.answer:
                self.turns += [
                    {"role": "user", "content": prompt},
                    {"role": "assistant", "content": printer.answer},
                ]
        if stats.finish_reason == "length":
            terminal.say(f"(cut off: {self._limit(stats)})")
        elif not printer.answer:
            terminal.say("(the model answered with nothing)")
        terminal.show(stats.line())

    def regenerate(self) -> None:
        """Ask the last question again; its answer is kept if there is no other one."""
        turns = self.undo()
        before = len(self.turns)
        try:
            self.ask(turns[0]["content"])
        finally:
            if len(self.turns) == before:
                self.turns += turns

    def undo(self) -> list[Message]:
        """Take back the last question and all that answers it; return these turns.

        Raises:
            InvalidRequest: there is none.
        """
        start = max((n for n, turn in enumerate(self.turns) if turn["role"] == "user"), default=None)
        if start is None:
            raise InvalidRequest("nothing has been asked yet")
        turns = self.turns[start:]
        del self.turns[start:]
        return turns

    def _limit(self, stats: AnswerStats) -> str:
        """Name the limit that an answer has reached."""
        limit = self.fields.get("max_tokens")
        if limit is not None and (stats.tokens is None or stats.tokens >= limit):
            return f"the answer has {limit} tokens, as max_tokens allows"
        return "the conversation fills the model's context; /clear starts a new one, --ctx of serve makes it larger"


class AnswerPrinter:
    """Prints an answer to stdout, each call on a line of its own, and thinking to a terminal's stderr."""

    def __init__(self) -> None:
        self.answer = ""
        self.thinking = False

    def add(self, chunk: Chunk) -> None:
        thinking = chunk.kind == "thinking"
        if thinking != self.thinking:
            terminal.show_inline("[thinking]\n" if thinking else "\n[answer]\n")
            self.thinking = thinking
        if thinking:
            terminal.show_inline(chunk.text)
        elif chunk.begins:
            self._write(("\n" if self.answer else "") + chunk.text + " ")
        else:
            self._write(chunk.text)

    def _write(self, text: str) -> None:
        self.answer += text
        terminal.write(text)

    def end(self) -> None:
        if self.answer and not self.answer.endswith("\n"):
            terminal.write("\n")
