"""Turns Anthropic's messages into those that every family shares."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

from edgeinfer.chat.message import Message, ToolCall
from edgeinfer.errors import InvalidRequest, UnsupportedParameter
from edgeinfer.server.anthropic.content import block_text, misplaced, result_text
from edgeinfer.server.anthropic.schemas.blocks import (
    Block,
    CompactionBlock,
    RedactedThinkingBlock,
    ServerBlock,
    TextBlock,
    ThinkingBlock,
    ToolResultBlock,
    ToolUseBlock,
)
from edgeinfer.server.anthropic.schemas.messages import MessageParam
from edgeinfer.server.anthropic.signature import held_thoughts

BILLING_HEADER = re.compile(r"x-anthropic-billing-header:[^\n]*\n*")
"""What Claude Code writes before its system text. It is not for the model, and changes with every request, so that no
prefix would be found in the cache."""


class PlacedBlock(NamedTuple):
    """A block, who says it, and its place in the request."""

    role: str
    block: Block
    where: str


def to_messages(system: str | Sequence[TextBlock] | None, params: Sequence[MessageParam]) -> list[Message]:
    """The messages of a request; turns of one role in a row are one.

    Raises:
        InvalidRequest: there are no blocks, or one cannot be read, or stands where none of its type can.
    """
    text = _system_text(system)
    messages = [Message(role="system", content=text)] if text else []
    for role, blocks in groupby(_placed(params), key=lambda placed: placed.role):
        match role:
            case "assistant":
                messages.append(_assistant(blocks))
            case "user":
                messages += _user(blocks)
            case _:
                texts = [_plain(placed) for placed in blocks]
                messages.append(Message(role="system", content="\n".join(texts)))
    if params and not messages:
        raise InvalidRequest("messages[0].content has no blocks", param="messages[0].content")
    return messages


def _system_text(system: str | Sequence[TextBlock] | None) -> str:
    texts = [system or ""] if system is None or isinstance(system, str) else [block.text for block in system]
    if texts and (header := BILLING_HEADER.match(texts[0])):
        texts[0] = texts[0][header.end() :]
    return "\n\n".join(text for text in texts if text)


def _placed(params: Sequence[MessageParam]) -> Iterator[PlacedBlock]:
    for n, param in enumerate(params):
        where = f"messages[{n}].content"
        if isinstance(param.content, str):
            yield PlacedBlock(param.role, TextBlock(type="text", text=param.content), where)
        else:
            for i, block in enumerate(param.content):
                yield PlacedBlock(param.role, block, f"{where}[{i}]")


def _user(blocks: Iterable[PlacedBlock]) -> list[Message]:
    """Results are messages of their own."""
    messages: list[Message] = []
    for is_result, run in groupby(blocks, key=lambda placed: isinstance(placed.block, ToolResultBlock)):
        if is_result:
            messages += map(_result, run)
        else:
            messages.append(Message(role="user", content="\n".join(map(_plain, run))))
    return messages


def _result(placed: PlacedBlock) -> Message:
    block = placed.block
    assert isinstance(block, ToolResultBlock)
    return Message(role="tool", content=result_text(block, placed.where), tool_call_id=block.tool_use_id)


def _assistant(blocks: Iterable[PlacedBlock]) -> Message:
    texts: list[str] = []
    thoughts: list[str] = []
    calls: list[ToolCall] = []
    for placed in blocks:
        match placed.block:
            case ThinkingBlock() as block:
                thoughts.append(block.thinking or held_thoughts(block.signature or ""))
            case RedactedThinkingBlock():
                pass
            case ToolUseBlock() as block:
                calls.append(ToolCall(block.name, block.input, block.id))
            case _:
                texts.append(_plain(placed))
    reasoning = "\n".join(filter(None, thoughts)) or None
    return Message(role="assistant", content="\n".join(texts), reasoning=reasoning, tool_calls=tuple(calls))


def _plain(placed: PlacedBlock) -> str:
    """The text of a block that has nothing but text."""
    block = placed.block
    match block:
        case ServerBlock():
            raise UnsupportedParameter(
                f"a block of type {block.type!r} is the work of Anthropic's servers, and cannot be read here",
                param=f"{placed.where}.type",
                hint="leave the block out, or send what it says as text",
            )
        case CompactionBlock():
            return block.content or ""
        case ToolUseBlock() | ToolResultBlock() | ThinkingBlock() | RedactedThinkingBlock():
            raise misplaced(block.type, placed.role, f"{placed.where}.type")
        case _:
            return block_text(block, placed.where)
