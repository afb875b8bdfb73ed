"""Puts the items of a conversation together to messages: an assistant's turn is several items."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from edgeinfer.chat.message import Message, Role, ToolCall
from edgeinfer.errors import InvalidRequest
from edgeinfer.server.http.json_decoder import JsonDecoder
from edgeinfer.server.responses.schemas.content import text_of
from edgeinfer.server.responses.schemas.items import (
    AnyItem,
    CustomToolCallItem,
    CustomToolCallOutputItem,
    FunctionCallItem,
    FunctionCallOutputItem,
    MessageItem,
    ReasoningItem,
)
from edgeinfer.server.responses.thoughts import unpack
from edgeinfer.server.responses.toolset import INPUT, full_name

ROLES: Mapping[str, Role] = {"system": "system", "developer": "system", "user": "user"}


class ConversationBuilder:
    """Collects messages. Thoughts, text and calls that follow each other are one message of the assistant."""

    def __init__(self, instructions: str | None = None) -> None:
        self._messages: list[Message] = []
        self._decoder = JsonDecoder()
        self._reasoning: list[str] = []
        self._text: str | None = None
        self._calls: list[ToolCall] = []
        if instructions:
            self._messages.append(Message(role="system", content=instructions))

    def add(self, item: AnyItem) -> None:
        """Add the next item. One that says nothing to a model is left out."""
        match item:
            case MessageItem(role="assistant"):
                self._say(text_of(item.content))
            case MessageItem():
                self._other(Message(role=ROLES[item.role], content=text_of(item.content)))
            case ReasoningItem():
                self._think(_thoughts(item))
            case FunctionCallItem():
                name = full_name(item.name, item.namespace)
                self._calls.append(ToolCall(name, self._arguments(item.arguments), item.call_id))
            case CustomToolCallItem():
                name = full_name(item.name, item.namespace)
                self._calls.append(ToolCall(name, {INPUT: item.input}, item.call_id))
            case FunctionCallOutputItem() | CustomToolCallOutputItem():
                self._other(Message(role="tool", content=text_of(item.output), tool_call_id=item.call_id))

    def messages(self) -> list[Message]:
        """All messages."""
        self._end_turn()
        return self._messages

    def _say(self, text: str) -> None:
        if self._text is not None or self._calls:
            self._end_turn()
        self._text = text

    def _think(self, thoughts: str) -> None:
        if self._text is not None or self._calls:
            self._end_turn()
        if thoughts:
            self._reasoning.append(thoughts)

    def _other(self, message: Message) -> None:
        self._end_turn()
        self._messages.append(message)

    def _end_turn(self) -> None:
        """End the assistant's turn, if there is one."""
        if self._text is not None or self._calls or self._reasoning:
            turn = Message(
                role="assistant",
                content=self._text or "",
                reasoning="\n".join(self._reasoning) or None,
                tool_calls=tuple(self._calls),
            )
            self._messages.append(turn)
        self._reasoning, self._text, self._calls = [], None, []

    def _arguments(self, arguments: str) -> Mapping[str, Any] | str:
        """An object where it is one. A call that was cut stays the text it is."""
        try:
            value = self._decoder.decode((arguments or "{}").encode())
        except InvalidRequest:
            return arguments
        return value if isinstance(value, dict) else arguments


def to_messages(items: Iterable[AnyItem], instructions: str | None = None) -> list[Message]:
    """The messages that the items are, after the instructions."""
    builder = ConversationBuilder(instructions)
    for item in items:
        builder.add(item)
    return builder.messages()


def _thoughts(item: ReasoningItem) -> str:
    """The thoughts in an item: their text, or what we packed, or a summary."""
    if item.content:
        return "\n".join(part.text for part in item.content)
    packed = unpack(item.encrypted_content)
    return packed if packed is not None else "\n".join(part.text for part in item.summary)
