"""A conversation in the form that a chat template takes it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edgeinfer.chat.capabilities import Capabilities
from edgeinfer.chat.message import Message, ToolCall
from edgeinfer.chat.tools.tool_format import ToolFormat, write_json
from edgeinfer.errors import InvalidRequest

TemplateMessage = dict[str, Any]
"""A message as a template reads it: Hugging Face's keys, and none whose value is null."""


def template_messages(messages: Sequence[Message], tool_format: ToolFormat) -> list[TemplateMessage]:
    """The messages as templates know them. Their texts are still the caller's.

    A result without a name gets that of the tool it is from, and ids take the form that the templates of
    `tool_format` insist on.

    Raises:
        InvalidRequest: there is no message.
    """
    if not messages:
        raise InvalidRequest("there must be at least one message", param="messages")
    turns = [_template_message(message, tool_format) for message in messages]
    names: dict[Any, str] = {}
    for turn in turns:
        names |= {call.get("id"): call["function"]["name"] for call in turn.get("tool_calls", ())}
        if turn["role"] == "tool" and "name" not in turn and turn.get("tool_call_id") in names:
            turn["name"] = names[turn.get("tool_call_id")]  # neither call nor result may have an id
    return turns


def arrange(
    turns: list[TemplateMessage],
    capabilities: Capabilities,
    tool_format: ToolFormat,
    tools: str | None = None,
) -> list[TemplateMessage]:
    """New messages, arranged for a template with these capabilities; the turns are not changed.

    - Calls and results that it would drop are written into the content as `tool_format` does; results become
      the user's. `tools`, a text, is added to the system message.
    - Leading system messages become one; for a template without a system role each goes to the head of the
      next user message.
    - Content is a list of one part for a template that insists.
    """
    arranged = [_with_calls(turn, capabilities, tool_format) for turn in turns]
    if not capabilities.tool_results:
        arranged = _results_as_user(arranged, tool_format)
    arranged = _one_system_message(arranged, tools)
    if not capabilities.system:
        arranged = _system_as_user(arranged)
    return [_typed(turn) for turn in arranged] if capabilities.typed_content else arranged


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
    return {"type": "function", **id, "function": {"name": call.name, "arguments": dict(call.arguments)}}


def _with_calls(
    turn: TemplateMessage, capabilities: Capabilities, tool_format: ToolFormat
) -> TemplateMessage:
    """A turn with its calls where the template looks for them."""
    functions = [call["function"] for call in turn.get("tool_calls", ())]
    if not functions:
        return turn
    if not capabilities.tool_calls:
        text = tool_format.write_calls((f["name"], f["arguments"]) for f in functions)
        content = "\n".join(filter(None, [turn["content"], text]))
        return {key: value for key, value in turn.items() if key != "tool_calls"} | {"content": content}
    arranged = {**turn, "content": turn["content"] or (None if capabilities.null_content else "")}
    if not capabilities.arguments_object:
        arranged["tool_calls"] = [
            {**call, "function": {**call["function"], "arguments": write_json(call["function"]["arguments"])}}
            for call in turn["tool_calls"]
        ]
    return arranged


def _results_as_user(turns: list[TemplateMessage], tool_format: ToolFormat) -> list[TemplateMessage]:
    """Results in the user's words, with what the user says next: many templates want roles to alternate."""
    arranged: list[TemplateMessage] = []
    after_result = False
    for turn in turns:
        is_result = turn["role"] == "tool"
        content = tool_format.write_result(turn["content"]) if is_result else turn["content"]
        if after_result and turn["role"] in ("tool", "user"):
            arranged[-1]["content"] += f"\n{content}"
        else:
            arranged.append({"role": "user", "content": content} if is_result else turn)
        after_result = is_result
    return arranged


def _one_system_message(turns: list[TemplateMessage], tools: str | None) -> list[TemplateMessage]:
    """Many templates look for a system message at the very beginning and nowhere else."""
    count = next((n for n, turn in enumerate(turns) if turn["role"] != "system"), len(turns))
    texts = [turn["content"] for turn in turns[:count]] + ([tools] if tools else [])
    if len(texts) == count <= 1:
        return turns
    first = turns[0] if count else {"role": "system"}
    return [{**first, "content": "\n\n".join(texts)}, *turns[count:]]


def _system_as_user(turns: list[TemplateMessage]) -> list[TemplateMessage]:
    arranged: list[TemplateMessage] = []
    pending: list[str] = []
    for turn in turns:
        if turn["role"] == "system":
            pending.append(turn["content"])
        elif turn["role"] == "user" and pending:
            arranged.append({**turn, "content": "\n\n".join([*pending, turn["content"]])})
            pending = []
        else:
            arranged.append(turn)
    if pending:  # no user message follows
        arranged.append({"role": "user", "content": "\n\n".join(pending)})
    return arranged


def _typed(turn: TemplateMessage) -> TemplateMessage:
    if turn["content"] is None:
        return turn
    return {**turn, "content": [{"type": "text", "text": turn["content"]}]}
