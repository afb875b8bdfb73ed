"""The messages of a conversation, in the form that every API family translates its own to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

Role = Literal["system", "user", "assistant", "tool"]
"""The roles that templates know. A template may build control tokens of a role, so there are no others."""


class ToolCall(msgspec.Struct, frozen=True):
    """A call that the assistant made earlier. Arguments that are a text are no JSON object: they were cut."""

    name: str
    arguments: Mapping[str, Any] | str
    id: str | None = None


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """One turn. Its texts are the caller's, and not trusted.

    Attributes:
        name: who speaks, or the tool that a result is from.
        reasoning: what the assistant thought before it spoke.
        tool_calls: the calls that the assistant made, after it spoke.
        tool_call_id: the call that a tool's result answers.
    """

    role: Role
    content: str = ""
    name: str | None = None
    reasoning: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
