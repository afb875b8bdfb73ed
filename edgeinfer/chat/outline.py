"""Outlines a conversation with marks instead of texts, which show what a template leaves out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from edgeinfer.chat.message import Message, ToolCall

MARK = re.compile(r"mark\d{6}x")


class Outline(NamedTuple):
    """A conversation of the same form as another, and the place that each of its marks stands for."""

    messages: list[Message]
    places: dict[str, str]

    def lost(self, text: str) -> str | None:
        """The first place that a rendered text leaves out: "messages[2].content"."""
        found = set(MARK.findall(text))
        return next((place for mark, place in self.places.items() if mark not in found), None)


def outline(messages: Sequence[Message]) -> Outline:
    """The outline of a conversation. Thoughts have no marks: templates leave out earlier ones on purpose."""
    places: dict[str, str] = {}

    def mark(place: str) -> str:
        text = f"mark{len(places):06}x"
        places[text] = place
        return text

    def call_outline(call: ToolCall, place: str) -> ToolCall:
        name = mark(f"{place}.function.name")
        if not call.arguments:
            return ToolCall(name, {}, call.id)
        argument = mark(f"{place}.function.arguments")
        cut = isinstance(call.arguments, str)
        return ToolCall(name, f'{{"{argument}' if cut else {argument: "value"}, call.id)

    outlines = []
    for n, message in enumerate(messages):
        place = f"messages[{n}]"
        content = mark(f"{place}.content") if message.content.strip() else message.content
        calls = tuple(call_outline(c, f"{place}.tool_calls[{m}]") for m, c in enumerate(message.tool_calls))
        reasoning = message.reasoning and "thought"
        outlines.append(
            msgspec.structs.replace(message, content=content, tool_calls=calls, reasoning=reasoning)
        )
    return Outline(outlines, places)
