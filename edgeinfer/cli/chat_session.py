"""A conversation with a model: its turns so far, and asking for the next one."""

from __future__ import annotations

from typing import Any

import httpx
import msgspec

from edgeinfer.cli import terminal
from edgeinfer.client.http import Target
from edgeinfer.client.stream import AnswerStats, Chunk, complete, stream


class ChatOptions(msgspec.Struct, frozen=True):
    """Options of every request. None: the server decides."""

    model: str | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    seed: int | None = None
    tools: list[Any] | None = None
    response_format: dict[str, Any] | None = None


class ChatSession:
    """Keeps the turns of a conversation and asks for the next answer."""

    def __init__(
        self, client: httpx.Client, target: Target, options: ChatOptions, system: str | None
    ) -> None:
        self.client = client
        self.target = target
        self.options = options
        self.system = system
        self.turns: list[dict[str, str]] = []

    def body(self, prompt: str) -> dict[str, Any]:
        """Return the request that asks for the answer to `prompt`."""
        system = [{"role": "system", "content": self.system}] if self.system else []
        options = {k: v for k, v in msgspec.structs.asdict(self.options).items() if v is not None}
        return {**options, "messages": [*system, *self.turns, {"role": "user", "content": prompt}]}

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

    def _limit(self, stats: AnswerStats) -> str:
        """Name the limit that an answer has reached."""
        limit = self.options.max_tokens
        if limit is not None and (stats.tokens is None or stats.tokens >= limit):
            return f"the answer has {limit} tokens, as --max-tokens allows"
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
