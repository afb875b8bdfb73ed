"""A conversation with a model: what was said, and how to ask for more."""

from __future__ import annotations

from typing import Any

import httpx
import msgspec

from edgeinfer.cli import terminal
from edgeinfer.client.http import Target
from edgeinfer.client.stream import Figures, Piece, stream, whole


class Options(msgspec.Struct, frozen=True):
    """What is asked of every answer. None: the server decides."""

    model: str | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    seed: int | None = None
    tools: list[Any] | None = None
    response_format: dict[str, Any] | None = None


class Conversation:
    def __init__(self, client: httpx.Client, target: Target, options: Options, system: str | None) -> None:
        self.client = client
        self.target = target
        self.options = options
        self.system = system
        self.turns: list[dict[str, str]] = []

    def body(self, prompt: str) -> dict[str, Any]:
        """The request that asks for the answer to `prompt`."""
        start = [{"role": "system", "content": self.system}] if self.system else []
        given = {k: v for k, v in msgspec.structs.asdict(self.options).items() if v is not None}
        return {**given, "messages": [*start, *self.turns, {"role": "user", "content": prompt}]}

    def json(self, prompt: str) -> None:
        """Print the server's whole answer object."""
        terminal.write(whole(self.client, self.target, self.body(prompt)).decode().rstrip("\n") + "\n")

    def ask(self, prompt: str) -> None:
        """Print the answer as it comes, and remember it: also what there was of it when Ctrl-C came."""
        said, figures = Printer(), Figures()
        pieces = stream(self.client, self.target, self.body(prompt), figures)
        try:
            for piece in pieces:
                said.add(piece)
        finally:
            pieces.close()  # closes the connection, which is how the daemon learns that nobody waits
            said.end()
            if said.answer:
                self.turns += [
                    {"role": "user", "content": prompt},
                    {"role": "assistant", "content": said.answer},
                ]
        if figures.finish_reason == "length":
            terminal.say("(cut: the answer reached --max-tokens, or the conversation the model's context)")
        terminal.remark(figures.line())


class Printer:
    """An answer on stdout, calls a line each, and the thinking before it on stderr, where somebody watches."""

    def __init__(self) -> None:
        self.answer = ""
        self.thinking = False

    def add(self, piece: Piece) -> None:
        thinking = piece.kind == "thinking"
        if thinking != self.thinking:
            terminal.aside("[thinking]\n" if thinking else "\n[answer]\n")
            self.thinking = thinking
        if thinking:
            terminal.aside(piece.text)
        elif piece.begins:
            self._write(("\n" if self.answer else "") + piece.text + " ")
        else:
            self._write(piece.text)

    def _write(self, text: str) -> None:
        self.answer += text
        terminal.write(text)

    def end(self) -> None:
        if self.answer and not self.answer.endswith("\n"):
            terminal.write("\n")
