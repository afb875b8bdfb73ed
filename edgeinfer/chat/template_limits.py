"""Says what a chat template cannot do, in words for people."""

from __future__ import annotations

from typing import Any

import msgspec

from edgeinfer.chat.capabilities import Capabilities
from edgeinfer.chat.reasoning import has_unknown_reasoning

LIMITS: tuple[tuple[str, Any, str], ...] = (
    ("system", False, "no system messages"),
    ("later_system", False, "no system message after the first message"),
    ("userless", False, "no conversation without a user"),
    ("assistant_first", False, "no assistant first"),
    ("repeats", False, "no two turns of one role in a row"),
    ("empty_turns", False, "no empty turns"),
    ("unknown_calls", True, "tool calls in a form that edgeinfer does not know"),
    ("tools", False, "no tools"),
    ("tool_calls", False, "no tool calls"),
    ("tool_results", False, "no tool results"),
    ("stray_results", False, "no tool results without a call"),
    ("text_beside_calls", ("written", "apart"), "no text beside tool calls"),
    ("parallel_calls", ("written", "apart"), "no two tool calls at once"),
    ("cut_arguments", False, "no cut tool calls"),
)
"""A capability, the values that mean a limit, and the limit."""

UNKNOWN_REASONING = "thoughts in a form that edgeinfer does not know"

TOOLS = ("tools", "tool_calls", "tool_results")
CALLS = ("stray_results", "text_beside_calls", "parallel_calls", "cut_arguments")


def template_limits(source: str, capabilities: Capabilities) -> list[str]:
    """The kinds of messages and orders that conversations are adapted for."""
    values = msgspec.structs.asdict(capabilities)
    implied = (TOOLS if capabilities.unknown_calls else ()) + (() if capabilities.tool_calls else CALLS)
    limits = [
        limit
        for field, limited, limit in LIMITS
        if field not in implied
        and (values[field] in limited if isinstance(limited, tuple) else values[field] is limited)
    ]
    return [*limits, UNKNOWN_REASONING] if has_unknown_reasoning(source) else limits
