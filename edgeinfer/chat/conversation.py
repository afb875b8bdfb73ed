"""A caller's messages, put the way a template takes them."""

from __future__ import annotations

import json
from typing import Any

from edgeinfer.chat.capabilities import Capabilities
from edgeinfer.chat.tools.tool_format import ToolFormat, write_json
from edgeinfer.errors import InvalidRequest, UnsupportedParameter

Message = dict[str, Any]

ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
    "function": "tool",
}
"""OpenAI's roles, and what templates know them as. No others: a template may build control tokens of a role."""


def conversation(messages: list[Message], form: ToolFormat) -> list[Message]:
    """New messages, checked and in one form; `messages` is not changed. What they say is still the caller's.

    - Roles are those templates know, content is a string (parts of text are joined by a newline, null is ""),
      fields that are null are left out.
    - A call's arguments are an object, a result has the name of the tool that it is from.

    Raises:
        InvalidRequest: no messages, an unknown role, arguments that are no JSON object.
        UnsupportedParameter: content other than text.
    """
    if not messages:
        raise InvalidRequest("there must be at least one message", param="messages")
    turns = [_turn(message, form, f"messages[{n}]") for n, message in enumerate(messages)]
    names: dict[Any, str] = {}
    for turn in turns:
        names |= {call.get("id"): call["function"]["name"] for call in turn.get("tool_calls", ())}
        if turn["role"] == "tool" and "name" not in turn and turn.get("tool_call_id") in names:
            turn["name"] = names[turn.get("tool_call_id")]  # neither call nor result may have an id
    return turns


def arranged(
    turns: list[Message], capabilities: Capabilities, form: ToolFormat, tools: str | None = None
) -> list[Message]:
    """New messages, put as a template with these capabilities takes them; the turns are not changed.

    - Calls and results that it would drop are written into the content as `form` does; results become the
      user's. `tools`, a text, is added to the system message.
    - Leading system messages become one; for a template without a system role each goes to the head of the
      next user message.
    - Content is a list of one part for a template that insists.
    """
    kept = [_put(turn, capabilities, form) for turn in turns]
    if not capabilities.tool_results:
        kept = _results_as_user(kept, form)
    kept = _one_system(kept, tools)
    if not capabilities.system:
        kept = _no_system(kept)
    return [_typed(turn) for turn in kept] if capabilities.typed_content else kept


def _turn(message: Message, form: ToolFormat, where: str) -> Message:
    turn = {key: value for key, value in message.items() if value is not None}
    role = message.get("role")
    if not isinstance(role, str) or role not in ROLES:
        raise InvalidRequest(
            f"unknown role {role!r}; the roles are {', '.join(ROLES)}", param=f"{where}.role"
        )
    turn["role"] = ROLES[role]
    turn["content"] = _text(message.get("content"), f"{where}.content")
    if "tool_call_id" in turn:
        turn["tool_call_id"] = form.known_id(turn["tool_call_id"])
    calls = turn.pop("tool_calls", None)
    if calls:
        turn["tool_calls"] = [_call(call, form, f"{where}.tool_calls[{n}]") for n, call in enumerate(calls)]
    return turn


def _put(turn: Message, capabilities: Capabilities, form: ToolFormat) -> Message:
    """A turn with its calls where they belong."""
    calls = [call["function"] for call in turn.get("tool_calls", ())]
    if not calls:
        return turn
    if not capabilities.tool_calls:
        written = form.write_calls((call["name"], call["arguments"]) for call in calls)
        content = "\n".join(filter(None, [turn["content"], written]))
        return {key: value for key, value in turn.items() if key != "tool_calls"} | {"content": content}
    kept = {**turn, "content": turn["content"] or (None if capabilities.null_content else "")}
    if not capabilities.arguments_object:
        kept["tool_calls"] = [
            {**call, "function": {**call["function"], "arguments": write_json(call["function"]["arguments"])}}
            for call in turn["tool_calls"]
        ]
    return kept


def _text(content: Any, where: str) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    if not isinstance(content, list):
        raise InvalidRequest("content must be a string or a list of parts", param=where)
    return "\n".join(_part(part, f"{where}[{n}]") for n, part in enumerate(content))


def _part(part: Any, where: str) -> str:
    if isinstance(part, str):
        return part
    if isinstance(part, dict) and isinstance(part.get("text"), str):
        return str(part["text"])
    if isinstance(part, dict) and isinstance(part.get("refusal"), str):
        return str(part["refusal"])
    kind = part.get("type") if isinstance(part, dict) else type(part).__name__
    raise UnsupportedParameter(f"content of type {kind!r} is not supported, only text is", param=where)


def _call(call: Any, form: ToolFormat, where: str) -> Message:
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise InvalidRequest("a tool call must have a function with a name", param=where)
    arguments = _arguments(function.get("arguments"), f"{where}.function.arguments")
    put = {"type": "function", **call, "function": {**function, "arguments": arguments}}
    return {**put, "id": form.known_id(put["id"])} if put.get("id") else put


def _arguments(arguments: Any, where: str) -> dict[str, Any]:
    try:
        found = json.loads(arguments or "{}") if isinstance(arguments, str) else arguments or {}
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise InvalidRequest("the arguments of a tool call must be a JSON object", param=where)
    return found


def _results_as_user(turns: list[Message], form: ToolFormat) -> list[Message]:
    """Results, and what the user says right after them, are one message: many templates want alternation."""
    kept: list[Message] = []
    open_results = False
    for turn in turns:
        result = turn["role"] == "tool"
        content = form.write_result(turn["content"]) if result else turn["content"]
        if open_results and turn["role"] in ("tool", "user"):
            kept[-1]["content"] += f"\n{content}"
        else:
            kept.append({"role": "user", "content": content} if result else turn)
        open_results = result
    return kept


def _one_system(turns: list[Message], tools: str | None) -> list[Message]:
    """Many templates look for a system message at the very beginning and nowhere else."""
    count = next((n for n, turn in enumerate(turns) if turn["role"] != "system"), len(turns))
    said = [turn["content"] for turn in turns[:count]] + ([tools] if tools else [])
    if len(said) == count <= 1:
        return turns
    first = turns[0] if count else {"role": "system"}
    return [{**first, "content": "\n\n".join(said)}, *turns[count:]]


def _no_system(turns: list[Message]) -> list[Message]:
    kept: list[Message] = []
    pending: list[str] = []
    for turn in turns:
        if turn["role"] == "system":
            pending.append(turn["content"])
        elif turn["role"] == "user" and pending:
            kept.append({**turn, "content": "\n\n".join([*pending, turn["content"]])})
            pending = []
        else:
            kept.append(turn)
    if pending:  # nobody spoke after it
        kept.append({"role": "user", "content": "\n\n".join(pending)})
    return kept


def _typed(turn: Message) -> Message:
    if turn["content"] is None:
        return turn
    return {**turn, "content": [{"type": "text", "text": turn["content"]}]}
