"""A caller's messages, put the way a template takes them."""

from __future__ import annotations

import json
from typing import Any

from edgeinfer.chat.capabilities import Capabilities
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


def conversation(messages: list[Message], capabilities: Capabilities) -> list[Message]:
    """New messages in the form that `capabilities` asks for; `messages` is not changed.

    - Content is a string (parts of text are joined by a newline, null is ""), or a list of one part for a
      template that insists. Fields that are null are left out.
    - Leading system messages become one; for a template without a system role each goes to the head of the
      next user message.
    - Tool calls and results that the template would drop are written into the content as Hermes does,
      `<tool_call>` and `<tool_response>` around JSON; results become the user's.

    Raises:
        InvalidRequest: no messages, an unknown role, arguments that are no JSON object.
        UnsupportedParameter: content other than text.
    """
    if not messages:
        raise InvalidRequest("there must be at least one message", param="messages")
    turns = [_turn(message, capabilities, f"messages[{n}]") for n, message in enumerate(messages)]
    if not capabilities.tool_results:
        turns = _results_as_user(turns)
    turns = _one_system(turns) if capabilities.system else _no_system(turns)
    return [_typed(turn) for turn in turns] if capabilities.typed_content else turns


def _turn(message: Message, capabilities: Capabilities, where: str) -> Message:
    turn = {key: value for key, value in message.items() if value is not None}
    role = message.get("role")
    if not isinstance(role, str) or role not in ROLES:
        raise InvalidRequest(
            f"unknown role {role!r}; the roles are {', '.join(ROLES)}", param=f"{where}.role"
        )
    turn["role"] = ROLES[role]
    turn["content"] = _text(message.get("content"), f"{where}.content")
    calls = turn.pop("tool_calls", None)
    if calls:
        put = capabilities.arguments_object
        calls = [_call(call, put, f"{where}.tool_calls[{n}]") for n, call in enumerate(calls)]
        if not capabilities.tool_calls:
            turn["content"] = "\n".join([turn["content"], *map(_call_text, calls)]).lstrip("\n")
        else:
            turn["tool_calls"] = calls
            turn["content"] = turn["content"] or (None if capabilities.null_content else "")
    return turn


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


def _call(call: Any, as_object: bool, where: str) -> Message:
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise InvalidRequest("a tool call must have a function with a name", param=where)
    arguments = _arguments(function.get("arguments"), f"{where}.function.arguments")
    put = arguments if as_object else json.dumps(arguments, ensure_ascii=False)
    return {"type": "function", **call, "function": {**function, "arguments": put}}


def _arguments(arguments: Any, where: str) -> dict[str, Any]:
    try:
        found = json.loads(arguments or "{}") if isinstance(arguments, str) else arguments or {}
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise InvalidRequest("the arguments of a tool call must be a JSON object", param=where)
    return found


def _call_text(call: Message) -> str:
    function = call["function"]
    text = json.dumps({"name": function["name"], "arguments": function["arguments"]}, ensure_ascii=False)
    return f"<tool_call>\n{text}\n</tool_call>"


def _results_as_user(turns: list[Message]) -> list[Message]:
    """Results, and what the user says right after them, are one message: many templates want alternation."""
    kept: list[Message] = []
    open_results = False
    for turn in turns:
        result = turn["role"] == "tool"
        content = f"<tool_response>\n{turn['content']}\n</tool_response>" if result else turn["content"]
        if open_results and turn["role"] in ("tool", "user"):
            kept[-1]["content"] += f"\n{content}"
        else:
            kept.append({"role": "user", "content": content} if result else turn)
        open_results = result
    return kept


def _one_system(turns: list[Message]) -> list[Message]:
    """Many templates look for a system message at the very beginning and nowhere else."""
    count = next((n for n, turn in enumerate(turns) if turn["role"] != "system"), len(turns))
    if count < 2:
        return turns
    text = "\n\n".join(turn["content"] for turn in turns[:count])
    return [{**turns[0], "content": text}, *turns[count:]]


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
