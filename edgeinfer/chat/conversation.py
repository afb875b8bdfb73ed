"""A conversation in the form that chat templates read."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import Any

from edgeinfer.chat.message import Message, ToolCall
from edgeinfer.chat.tools.tool_format import ToolFormat
from edgeinfer.errors import InvalidRequest

TemplateMessage = dict[str, Any]
"""A message as a template reads it: Hugging Face's keys, and none whose value is null."""


def template_messages(messages: Sequence[Message], tool_format: ToolFormat) -> list[TemplateMessage]:
    """The messages as templates know them. Their texts are still the caller's.

    A result without a name gets that of the tool it is from, calls and results without an id get one, and ids
    take the form that the templates of `tool_format` insist on. The arguments of a call are an object, or a
    text that is none: a call that was cut.

    Raises:
        InvalidRequest: there is no message.
    """
    if not messages:
        raise InvalidRequest("there must be at least one message", param="messages")
    turns = [_template_message(message, tool_format) for message in messages]
    numbers = count()
    names: dict[str, str] = {}
    waiting: list[str] = []  # ids of calls that have no result yet
    for turn in turns:
        for call in turn.get("tool_calls", ()):
            call.setdefault("id", tool_format.known_id(f"call_{next(numbers)}"))
            names[call["id"]] = call["function"]["name"]
            waiting.append(call["id"])
        if turn["role"] == "tool":
            if "tool_call_id" not in turn:
                turn["tool_call_id"] = (
                    waiting[0] if waiting else tool_format.known_id(f"call_{next(numbers)}")
                )
            if turn["tool_call_id"] in waiting:
                waiting.remove(turn["tool_call_id"])
            if turn["tool_call_id"] in names:
                turn.setdefault("name", names[turn["tool_call_id"]])
    return turns


def _template_message(message: Message, tool_format: ToolFormat) -> TemplateMessage:
    turn: TemplateMessage = {"role": message.role, "content": message.content}
    if message.name is not None:
        turn["name"] = message.name
    if message.reasoning is not None:
        turn["reasoning_content"] = message.reasoning
    if message.tool_call_id is not None:
        turn["tool_call_id"] = tool_format.known_id(message.tool_call_id)
    if message.tool_calls:
        turn["tool_calls"] = [_template_call(call, tool_format) for call in message.tool_calls]
    return turn


def _template_call(call: ToolCall, tool_format: ToolFormat) -> TemplateMessage:
    id = {} if call.id is None else {"id": tool_format.known_id(call.id)}
    arguments = call.arguments if isinstance(call.arguments, str) else dict(call.arguments)
    return {"type": "function", **id, "function": {"name": call.name, "arguments": arguments}}
