"""Collects tool calls until they are whole: Ollama's clients get no parts of them."""

from __future__ import annotations

import msgspec

from edgeinfer.chat.events import CallArguments, CallBegin
from edgeinfer.server.ollama.types import OllamaFunction, OllamaToolCall


class CallBuffer:
    """Collects the calls of one answer, one after another."""

    def __init__(self) -> None:
        self._count = 0
        self._begin: CallBegin | None = None
        self._arguments: list[str] = []

    def add(self, event: CallBegin | CallArguments) -> OllamaToolCall | None:
        """Add to a call; -> the call before it, if this begins another one."""
        if isinstance(event, CallArguments):
            self._arguments.append(event.text)
            return None
        before = self.end()
        self._begin = event
        return before

    def end(self) -> OllamaToolCall | None:
        """The last call, unless the answer was cut in the middle of it."""
        begin, arguments = self._begin, "".join(self._arguments)
        self._begin, self._arguments = None, []
        return self.whole(begin.id, begin.name, arguments) if begin else None

    def whole(self, id: str, name: str, arguments: str) -> OllamaToolCall | None:
        """The call with its arguments as an object; None if they are not whole."""
        try:
            decoded = msgspec.json.decode(arguments or "{}")
        except (msgspec.DecodeError, RecursionError):
            return None
        self._count += 1
        return OllamaToolCall(id, OllamaFunction(self._count - 1, name, decoded))
