"""A conversation on its way to a prompt: masked, and arranged for what its template can render."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from edgeinfer.chat.arrangement import arrange
from edgeinfer.chat.capabilities import Capabilities
from edgeinfer.chat.control_mask import ControlTokenMask
from edgeinfer.chat.conversation import TemplateMessage, template_messages
from edgeinfer.chat.message import Message
from edgeinfer.chat.outline import outline
from edgeinfer.chat.template_profile import TemplateProfile
from edgeinfer.chat.tools.tool import TOOL_NAME
from edgeinfer.errors import InvalidRequest


class Draft:
    """One conversation and the values of its template, which give a context for any capabilities.

    Everything from the caller is masked before our own text, which is trusted, is put around it.

    Attributes:
        mask: the mask of the caller's texts.
    """

    def __init__(
        self,
        profile: TemplateProfile,
        messages: Sequence[Message],
        turns: list[TemplateMessage],
        values: dict[str, Any],
        continues: bool,
    ) -> None:
        """`turns` are the messages as templates know them. With `continues`, the prompt ends in the last one.

        Raises InvalidRequest if that one calls tools, or the texts leave no private characters for a mask.
        """
        if continues and turns[-1].get("tool_calls"):
            raise InvalidRequest(
                "the last message calls tools and cannot be continued",
                param="messages",
                hint="add the tools' results, or leave the call out",
            )
        self.mask = ControlTokenMask(profile.guard, [turns, values])
        self._profile = profile
        self._values = {key: self.mask.mask(value) for key, value in values.items()}
        self._turns = [_masked_turn(turn, self.mask) for turn in turns]
        self._continues = continues
        names = (tool.get("function", tool).get("name") for tool in self._values["tools"] or ())
        self._tool_names = [name if re.fullmatch(TOOL_NAME, str(name)) else "" for name in names]
        self._outline = outline(messages)
        self._outline_turns = template_messages(self._outline.messages, profile.tool_format)

    def contexts(self, capabilities: Capabilities) -> list[dict[str, Any]]:
        """The context of the conversation's outline, and that of the conversation itself."""
        values = {"documents": None, **self._values}
        tool_format, section = self._profile.tool_format, None
        if values["tools"] and not capabilities.tools:
            section, values["tools"] = tool_format.section(values["tools"]), None
        if values["tools"] is None and capabilities.tools_list:
            values["tools"] = []
        values |= tool_format.variables(values["tools"])
        sketched, arranged = (
            arrange(turns, capabilities, tool_format, section) for turns in (self._outline_turns, self._turns)
        )
        if self._continues:
            arranged[-1] = _with_sentinel(arranged[-1], self.mask.sentinel)
        return [{**values, "messages": sketched}, {**values, "messages": arranged}]

    def lost(self, rendered_outline: str) -> str | None:
        """The first place of the request that is not in its rendered outline: "messages[2].content"."""
        tools = (f"tools[{n}]" for n, name in enumerate(self._tool_names) if name not in rendered_outline)
        return self._outline.lost(rendered_outline) or next(tools, None)


def _masked_turn(turn: TemplateMessage, mask: ControlTokenMask) -> TemplateMessage:
    """Mask a turn except its field names and its role, from which templates make control tokens."""
    masked = {key: value if key == "role" else mask.mask(value) for key, value in turn.items()}
    if "tool_calls" in turn:
        masked["tool_calls"] = [_masked_call(call, mask) for call in turn["tool_calls"]]
    return masked


def _masked_call(call: dict[str, Any], mask: ControlTokenMask) -> dict[str, Any]:
    function = {key: mask.mask(value) for key, value in call["function"].items()}
    return {key: mask.mask(value) for key, value in call.items()} | {"function": function}


def _with_sentinel(turn: TemplateMessage, sentinel: str) -> TemplateMessage:
    """The message that is to be continued, with its end marked."""
    content = turn["content"]
    if isinstance(content, list):
        *parts, last = content
        return {**turn, "content": [*parts, {**last, "text": last["text"] + sentinel}]}
    return {**turn, "content": content + sentinel}
