"""Finds out which orders of a conversation a template takes, by trying small conversations with it."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any, NamedTuple

import msgspec

from edgeinfer.chat.arrangement import arrange
from edgeinfer.chat.capabilities import (
    QUESTION,
    TOOLS,
    Capabilities,
    detect_capabilities,
    probe_contexts,
    render_context,
)
from edgeinfer.chat.conversation import template_messages
from edgeinfer.chat.message import Message, ToolCall
from edgeinfer.chat.outline import Outline, outline
from edgeinfer.chat.template_protocol import RenderOutcome
from edgeinfer.chat.tools.tool_format import ToolFormat

Detection = Generator[list[dict[str, Any]] | Capabilities, list[RenderOutcome], None]
"""Yields contexts to render without bos_token and eos_token, for whose outcomes it waits; at last the result."""


class Choice(NamedTuple):
    """Values of one capability, the best first, and conversations that tell which of them holds."""

    field: str
    values: Sequence[Any]
    conversations: Sequence[list[Message]]


SYSTEM = Message(role="system", content="s")
USER = Message(role="user", content="u")
ANSWER = Message(role="assistant", content="a")
EMPTY = Message(role="assistant")
RESULT = Message(role="tool", content="r", tool_call_id="call00001")
OTHER_RESULT = Message(role="tool", content="r", tool_call_id="call00002")
CALL = ToolCall("f", {"x": "y"}, "call00001")
OTHER_CALL = ToolCall("f", {"x": "y"}, "call00002")
CUT_CALL = ToolCall("f", "{", "call00001")
"""Ids of nine letters and digits: the only ones that every Mistral template takes."""


def _calling(*calls: ToolCall, text: str = "") -> Message:
    return Message(role="assistant", content=text, tool_calls=calls)


ORDERS = (
    Choice("repeats", (True, False), ([USER, USER], [USER, ANSWER, ANSWER, USER])),
    Choice("assistant_first", (True, False), ([ANSWER, USER],)),
    Choice("later_system", (True, False), ([SYSTEM, USER, ANSWER, SYSTEM, USER],)),
    Choice("userless", (True, False), ([SYSTEM],)),
    Choice("empty_turns", (True, False), ([USER, EMPTY, USER], [Message(role="user"), ANSWER, USER])),
)

CALLS = (
    Choice("tool_calls", (True, False), ([USER, _calling(CALL), RESULT],)),
    Choice(
        "calls_alternate",
        (False, True),
        ([USER, _calling(CALL), RESULT, ANSWER, USER], [USER, _calling(CALL), RESULT, USER]),
    ),
    Choice(
        "stray_results",
        (True, False),
        ([USER, ANSWER, RESULT, ANSWER, USER], [USER, RESULT, ANSWER, USER]),
    ),
    Choice("assistant_first", (True, False), ([_calling(CALL), RESULT, USER],)),
    Choice("cut_arguments", (True, False), ([USER, _calling(CUT_CALL), RESULT],)),
)


def _sides(tool_format: ToolFormat) -> tuple[Choice, ...]:
    """Calls in text are what a model wrote itself, unless text is no place for them."""
    in_text = tool_format.trigger and not tool_format.lead
    values = ("shown", "written", "apart") if in_text else ("shown", "apart", "written")
    beside = _calling(CALL, text="t")
    pair = _calling(CALL, OTHER_CALL)
    return (
        Choice("text_beside_calls", values, ([USER, beside, RESULT], [USER, beside, RESULT, ANSWER, USER])),
        Choice(
            "parallel_calls",
            ("shown", "apart", "written"),
            ([USER, pair, RESULT, OTHER_RESULT], [USER, pair, RESULT, OTHER_RESULT, ANSWER, USER]),
        ),
    )


def detection(tool_format: ToolFormat) -> Detection:
    """The capabilities of a template for a model with this tool format.

    Each round asks about what does not depend on the others in it, and a later one never finds a better value
    than an earlier one. A template that takes none of the values has the first: the rendering of a real
    conversation will tell what is wrong.
    """
    no_tools: tuple[list[Any] | None, ...] = (None, [])
    null, empty = yield [_with_variables(render_context([QUESTION], no), tool_format) for no in no_tools]
    tools_list = null.text is None and empty.text is not None
    contexts = [_with_variables(c, tool_format) for c in probe_contexts([] if tools_list else None)]
    capabilities = _without_foreign_tools(detect_capabilities((yield contexts)), tool_format)
    capabilities = msgspec.structs.replace(capabilities, tools_list=tools_list)
    for choices in (ORDERS, CALLS, _sides(tool_format)):
        if choices is not ORDERS and not capabilities.tool_calls:
            break
        tries = [
            (choice.field, value, [outline(messages) for messages in choice.conversations])
            for choice in choices
            for value in choice.values[choice.values.index(getattr(capabilities, choice.field)) :]
        ]
        contexts = [
            _context(sketch, msgspec.structs.replace(capabilities, **{field: value}), tool_format)
            for field, value, sketches in tries
            for sketch in sketches
        ]
        outcomes = iter((yield contexts))
        found: dict[str, Any] = {}
        for field, value, sketches in tries:
            texts = [next(outcomes).text for _ in sketches]
            if all(
                text is not None and sketch.lost(text) is None
                for sketch, text in zip(sketches, texts, strict=True)
            ):
                found.setdefault(field, value)
        capabilities = msgspec.structs.replace(capabilities, **found)
    yield capabilities


def _context(sketch: Outline, capabilities: Capabilities, tool_format: ToolFormat) -> dict[str, Any]:
    turns = arrange(template_messages(sketch.messages, tool_format), capabilities, tool_format)
    tools = TOOLS if capabilities.tools else [] if capabilities.tools_list else None
    return _with_variables(render_context(turns, tools), tool_format)


def _with_variables(context: dict[str, Any], tool_format: ToolFormat) -> dict[str, Any]:
    return {**context, **tool_format.variables(context["tools"])}


def _without_foreign_tools(capabilities: Capabilities, tool_format: ToolFormat) -> Capabilities:
    """The capabilities without those for tools, where the template renders them in another format."""
    if not tool_format.foreign:
        return capabilities
    unknown = capabilities.tools or capabilities.tool_calls
    return msgspec.structs.replace(
        capabilities, unknown_calls=unknown, tools=False, tool_calls=False, tool_results=False
    )
