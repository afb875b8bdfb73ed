"""Writes the content blocks of a streamed answer: one after the other, each closed before the next opens."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from edgeinfer.chat.events import CallArguments, CallBegin, Content, Event, Reasoning
from edgeinfer.server.anthropic.signature import SIGNATURE, hold
from edgeinfer.server.anthropic.types import (
    BlockStart,
    TextContent,
    ThinkingContent,
    ToolUseContent,
    event,
)

DELTA = (
    b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,"delta":{"type":"%s","%s":'
)
DELTA_END = b"}}\n\n"
STOP = b'event: content_block_stop\ndata: {"type":"content_block_stop","index":%d}\n\n'

encode = msgspec.json.Encoder().encode


class BlockStream:
    """The blocks of one answer as server-sent events. A delta costs one encoding of its text."""

    def __init__(self, *, show_thoughts: bool) -> None:
        """Without `show_thoughts`, thinking blocks are empty, and their signature holds the thoughts."""
        self._index = -1
        self._open: type[Event] | None = None
        self._delta = b""
        self._show_thoughts = show_thoughts
        self._thoughts: list[str] = []

    def write(self, events: Iterable[Event]) -> bytes:
        """The server-sent events for `events`."""
        return b"".join([part for event in events for part in self._parts(event)])

    def close(self) -> bytes:
        """The end of the block that is open, if one is."""
        if self._open is None:
            return b""
        end = self._signature() if self._open is Reasoning else b""
        self._open = None
        return end + STOP % self._index

    def _parts(self, event: Event) -> Iterable[bytes]:
        match event:
            case CallBegin():
                start = self._begin(CallBegin, ToolUseContent(event.id, event.name, {}))
                self._delta = DELTA % (self._index, b"input_json_delta", b"partial_json")
                return start
            case CallArguments():
                return (self._delta, encode(event.text), DELTA_END)
            case Content():
                start = () if self._open is Content else self._begin_text()
                return (*start, self._delta, encode(event.text), DELTA_END)
            case Reasoning():
                start = () if self._open is Reasoning else self._begin_thinking()
                if self._show_thoughts:
                    return (*start, self._delta, encode(event.text), DELTA_END)
                self._thoughts.append(event.text)
                return start

    def _begin_text(self) -> tuple[bytes, ...]:
        start = self._begin(Content, TextContent(""))
        self._delta = DELTA % (self._index, b"text_delta", b"text")
        return start

    def _begin_thinking(self) -> tuple[bytes, ...]:
        start = self._begin(Reasoning, ThinkingContent("", ""))
        self._delta = DELTA % (self._index, b"thinking_delta", b"thinking")
        self._thoughts = []
        return start

    def _begin(
        self, kind: type[Event], block: TextContent | ThinkingContent | ToolUseContent
    ) -> tuple[bytes, ...]:
        end = self.close()
        self._open = kind
        self._index += 1
        return end, event(BlockStart(self._index, block))

    def _signature(self) -> bytes:
        signature = SIGNATURE if self._show_thoughts else hold("".join(self._thoughts))
        return DELTA % (self._index, b"signature_delta", b"signature") + encode(signature) + DELTA_END
