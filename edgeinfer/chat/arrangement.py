"""Arranges a conversation for what a chat template can render."""

from __future__ import annotations

from collections import ChainMap

from edgeinfer.chat.call_arrangement import arrange_calls
from edgeinfer.chat.capabilities import Capabilities
from edgeinfer.chat.conversation import TemplateMessage
from edgeinfer.chat.tools.tool_format import ToolFormat

FILLER = "…"
"""The text of a turn that must be there and must not be empty."""

BETWEEN = "\n\n"
"""Stands between two texts that become one."""


def arrange(
    turns: list[TemplateMessage],
    capabilities: Capabilities,
    tool_format: ToolFormat,
    tools: str | None = None,
) -> list[TemplateMessage]:
    """New messages, arranged for a template with these capabilities; the turns are not changed.

    Every text and every call is in them, in the order of the conversation.

    - Calls and results that the template would drop are written as text, see `arrange_calls`.
    - Leading system messages become one, to which `tools`, a text, is added. Those that the template has no
      place for become the user's.
    - Turns of one role in a row are joined, or parted by an empty turn, where roles have to alternate.
    - Content is a list of one part for a template that insists.
    """
    arranged = _one_system_message(arrange_calls(turns, capabilities, tool_format), tools)
    arranged = _system_as_user(arranged, _kept_system_messages(arranged, capabilities))
    if not capabilities.empty_turns:
        arranged = [_filled(turn) for turn in arranged]
    arranged = _in_turns(_with_user(arranged, capabilities), capabilities)
    return [_typed(turn) for turn in arranged] if capabilities.typed_content else arranged


def _one_system_message(turns: list[TemplateMessage], tools: str | None) -> list[TemplateMessage]:
    """Many templates look for a system message at the very beginning and nowhere else."""
    count = next((n for n, turn in enumerate(turns) if turn["role"] != "system"), len(turns))
    texts = [turn["content"] for turn in turns[:count]] + ([tools] if tools else [])
    if len(texts) == count <= 1:
        return turns
    first = turns[0] if count else {"role": "system"}
    return [{**first, "content": BETWEEN.join(texts)}, *turns[count:]]


def _kept_system_messages(turns: list[TemplateMessage], capabilities: Capabilities) -> int:
    """The number of turns at the beginning whose system messages the template renders."""
    lone = not any(turn["role"] == "user" for turn in turns)
    if not capabilities.system or (lone and not capabilities.userless):
        return 0
    return len(turns) if capabilities.later_system else 1


def _system_as_user(turns: list[TemplateMessage], kept: int) -> list[TemplateMessage]:
    """Give system messages after the first turns to the user: to the next turn's head, or as a turn."""
    arranged = turns[:kept]
    pending: list[str] = []
    for turn in turns[kept:]:
        if turn["role"] == "system":
            pending.append(turn["content"])
            continue
        if pending and turn["role"] == "user":
            turn = {**turn, "content": BETWEEN.join([*pending, turn["content"]])}
        elif pending:
            arranged.append({"role": "user", "content": BETWEEN.join(pending)})
        pending = []
        arranged.append(turn)
    if pending:
        arranged.append({"role": "user", "content": BETWEEN.join(pending)})
    return arranged


def _filled(turn: TemplateMessage) -> TemplateMessage:
    empty = not turn["content"] and turn["role"] in ("user", "assistant") and not turn.get("tool_calls")
    return {**turn, "content": FILLER} if empty else turn


def _with_user(turns: list[TemplateMessage], capabilities: Capabilities) -> list[TemplateMessage]:
    """Put a user's turn at the beginning where the template misses one."""
    start = next((n for n, turn in enumerate(turns) if turn["role"] != "system"), len(turns))
    userless = not capabilities.userless and not any(turn["role"] == "user" for turn in turns)
    assistant_first = not capabilities.assistant_first and [t["role"] for t in turns[start:]][:1] == [
        "assistant"
    ]
    if userless or (assistant_first and (capabilities.repeats or _counts(turns[start], capabilities))):
        return [*turns[:start], _empty("user", capabilities), *turns[start:]]
    return turns


def _in_turns(turns: list[TemplateMessage], capabilities: Capabilities) -> list[TemplateMessage]:
    """Let user and assistant alternate where the template insists."""
    if capabilities.repeats:
        return turns
    runs: list[list[TemplateMessage]] = []  # of turns that become one
    last = None if capabilities.assistant_first else "assistant"
    for turn in turns:
        role = turn["role"]
        if not _counts(turn, capabilities):
            runs.append([turn])
        elif role != last:
            runs.append([turn])
            last = role
        elif runs and _joinable(runs[-1][-1], turn):
            runs[-1].append(turn)
        else:
            runs += [[_empty("user" if role == "assistant" else "assistant", capabilities)], [turn]]
    return [_joined(run) if len(run) > 1 else run[0] for run in runs]


def _empty(role: str, capabilities: Capabilities) -> TemplateMessage:
    return {"role": role, "content": "" if capabilities.empty_turns else FILLER}


def _counts(turn: TemplateMessage, capabilities: Capabilities) -> bool:
    if turn["role"] not in ("user", "assistant"):
        return False
    return capabilities.calls_alternate or not turn.get("tool_calls")


def _joinable(first: TemplateMessage, second: TemplateMessage) -> bool:
    return first["role"] == second["role"] and not first.get("tool_calls")


def _joined(turns: list[TemplateMessage]) -> TemplateMessage:
    joined = dict(ChainMap(*reversed(turns)))
    for key in ("content", "reasoning_content"):
        if key in joined:
            joined[key] = BETWEEN.join(filter(None, (turn.get(key) for turn in turns)))
    return joined


def _typed(turn: TemplateMessage) -> TemplateMessage:
    if turn["content"] is None:
        return turn
    return {**turn, "content": [{"type": "text", "text": turn["content"]}]}
