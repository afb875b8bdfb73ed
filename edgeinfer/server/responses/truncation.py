"""Shortens a conversation that does not fit, where the request allows it: the oldest messages go first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from edgeinfer.chat.message import Message, ToolCall

KEPT = 0.75
"""Part of a conversation that each attempt keeps. Only tokenizing it tells whether it fits, so there are few attempts."""


def shortened(messages: Sequence[Message]) -> Iterator[list[Message]]:
    """The conversation, shorter each time, down to the system's first messages and the last message.

    A call stays with its results.
    """
    first = next((n for n, message in enumerate(messages) if message.role != "system"), len(messages))
    lead, groups = list(messages[:first]), _groups(messages[first:])
    size = sum(map(_group_size, groups))
    while len(groups) > 1:
        limit = size * KEPT
        while len(groups) > 1 and size > limit:
            size -= _group_size(groups.pop(0))
        yield [*lead, *(message for group in groups for message in group)]


def _groups(messages: Sequence[Message]) -> list[list[Message]]:
    """The messages, each with the results that follow it."""
    groups: list[list[Message]] = []
    for message in messages:
        if message.role == "tool" and groups:
            groups[-1].append(message)
        else:
            groups.append([message])
    return groups


def _group_size(group: Sequence[Message]) -> int:
    return sum(map(_size, group))


def _size(message: Message) -> int:
    """Characters, and something for what a template puts around them."""
    calls = sum(map(_call_size, message.tool_calls))
    return 16 + len(message.content) + len(message.reasoning or "") + calls


def _call_size(call: ToolCall) -> int:
    return len(call.name) + len(str(call.arguments))
