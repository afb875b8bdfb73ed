"""A conversation with a model: its turns so far, and asking for the next one."""

from __future__ import annotations

from collections.abc import Container
from typing import TYPE_CHECKING, Any

import httpx

from edgeinfer.cli import terminal
from edgeinfer.client.http import Target
from edgeinfer.client.stream import AnswerStats, Chunk, complete, stream
from edgeinfer.errors import InvalidRequest

if TYPE_CHECKING:
    from edgeinfer.mcp.tool_calls import ToolCalls

Message = dict[str, Any]

MAX_STEPS = 12
"""Answers with calls in a row; a small model may go round in circles."""


class ChatSession:
    """Keeps the turns of a conversation and asks for the next answer.

    Attributes:
        fields: what every request has beside its messages, such as the model; the server decides about the rest.
        default_model: the model that answers if `fields` names none, as far as that is known.
        turns: messages of users and of the model, without the system's.
        mcp_tools: what the model may call, each time after a question.
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
        self.mcp_tools: ToolCalls | None = None

    @property
    def model(self) -> str | None:
        """The name of the model that answers, as far as it is known."""
        return self.fields.get("model") or self.default_model

    def messages(self) -> list[Message]:
        """Return the whole conversation."""
        system = [{"role": "system", "content": self.system}] if self.system else []
        return [*system, *self.turns]

    def body(self, *turns: Message) -> dict[str, Any]:
        """Return the request that asks for the answer to the conversation with these turns at its end."""
        tools = {"tools": self.mcp_tools.definitions} if self.mcp_tools and self.mcp_tools.tools else {}
        return {**self.fields, **tools, "messages": [*self.messages(), *turns]}

    def print_json(self, prompt: str) -> None:
        """Print the server's whole answer object."""
        terminal.write(
            complete(self.client, self.target, self.body(_question(prompt))).decode().rstrip("\n") + "\n"
        )

    def ask(self, prompt: str) -> None:
        """Print the answer as it arrives and remember it, also the part that precedes a Ctrl-C."""
        turns = [_question(prompt)]
        for _ in range(MAX_STEPS):
            text, calls = self._answer(turns)
            if not calls:
                return
            assert self.mcp_tools
            turns += self.mcp_tools.turns(text, calls)
        self.turns += turns
        terminal.say(f"(stopped after {MAX_STEPS} answers with calls; ask again to go on)")

    def _answer(self, turns: list[Message]) -> tuple[str, list[tuple[str, str]]]:
        """Print the answer to these turns and remember both; one with calls to carry out is only returned."""
        printer, stats = AnswerPrinter(self.mcp_tools or ()), AnswerStats()
        chunks = stream(self.client, self.target, self.body(*turns), stats)
        try:
            for chunk in chunks:
                printer.add(chunk)
        finally:
            chunks.close()  # closes the connection, which tells the daemon to stop computing
            printer.end()
            if printer.answer and not printer.calls:
                self.turns += [*turns, {"role": "assistant", "content": printer.answer}]
        if printer.calls and stats.finish_reason != "length":
            return printer.answer, printer.calls
        if stats.finish_reason == "length":
            terminal.say(f"(cut off: {self._limit(stats)})")
        elif not printer.answer:
            terminal.say("(the model answered with nothing)")
        terminal.show(stats.line())
        return printer.answer, []

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


def _question(prompt: str) -> Message:
    return {"role": "user", "content": prompt}


class AnswerPrinter:
    """Prints an answer to stdout, each call on a line of its own, and thinking to a terminal's stderr.

    Attributes:
        calls: names and arguments of the calls that are not printed, since they are carried out.
    """

    def __init__(self, carried_out: Container[str] = ()) -> None:
        """`carried_out`: the tools whose calls are not printed."""
        self.answer = ""
        self.thinking = False
        self.calls: list[tuple[str, str]] = []
        self._carried_out = carried_out
        self._in_call = False

    def add(self, chunk: Chunk) -> None:
        if chunk.begins:
            self._in_call = chunk.text in self._carried_out
            if self._in_call:
                self.calls.append((chunk.text, ""))
                return
        if self._in_call and chunk.kind == "call":
            name, arguments = self.calls[-1]
            self.calls[-1] = name, arguments + chunk.text
            return
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
