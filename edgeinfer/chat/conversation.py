"""A conversation in the form that chat templates read."""

from __future__ import annotations

from collections import deque
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

    Every call and result has an id, in the form that the templates of `tool_format` insist on. A result gets
    the name of the tool it is from, if it has none. The arguments of a call are an object, or a text that is
    none: a call that was cut.

    Raises:
        InvalidRequest: there is no message.
    """
    if not messages:
        raise InvalidRequest("there must be at least one message", param="messages")
    turns = [_template_message(message, tool_format) for message in messages]
    _match_results(turns, tool_format)
    return turns


def _match_results(turns: list[TemplateMessage], tool_format: ToolFormat) -> None:
    """Give ids to calls and results without one. A result of no known call is the first unanswered one's."""
    answered = {turn.get("tool_call_id") for turn in turns if turn["role"] == "tool"}
    new_ids = (tool_format.known_id(f"call_{n}") for n in count())
    names: dict[str, str] = {}
    unanswered: deque[str] = deque()
    for turn in turns:
        for call in turn.get("tool_calls", ()):
            call.setdefault("id", next(new_ids))
            names[call["id"]] = call["function"]["name"]
            if call["id"] not in answered:
                unanswered.append(call["id"])
        if turn["role"] == "tool":
            if turn.get("tool_call_id") not in names:
                own = turn.get("tool_call_id")
                turn["tool_call_id"] = unanswered.popleft() if unanswered else own or next(new_ids)
            if name := names.get(turn["tool_call_id"]):
                turn.setdefault("name", name)


def _template_message(message: Message, tool_format: ToolFormat) -> TemplateMessage:
    turn: TemplateMessage = {"role": message.role, "content": message.content}
    if message.name is not None:
        turn["name"] = message.name
    if message.reasoning is not None:
        # gpt-oss's template has a name of its own, and does not take such a text beside content.
        key = "thinking" if tool_format.channels and not message.content else "reasoning_content"
        turn[key] = message.reasoning
    if message.tool_call_id is not None:
        turn["tool_call_id"] = tool_format.known_id(message.tool_call_id)
    if message.tool_calls:
        turn["tool_calls"] = [_template_call(call, tool_format) for call in message.tool_calls]
    return turn


def _template_call(call: ToolCall, tool_format: ToolFormat) -> TemplateMessage:
    id = {} if call.id is None else {"id": tool_format.known_id(call.id)}
    arguments = call.arguments if isinstance(call.arguments, str) else dict(call.arguments)
    return {"type": "function", **id, "function": {"name": call.name, "arguments": arguments}}
