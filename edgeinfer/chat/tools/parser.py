"""Parses the calls in an answer while it arrives."""

from __future__ import annotations

from collections.abc import Mapping

from edgeinfer.chat.events import CallBegin, Content
from edgeinfer.chat.scanner import Scanner, Steps
from edgeinfer.chat.tools.argument_syntax import parse_json
from edgeinfer.chat.tools.tool import Tool, ToolChoice
from edgeinfer.chat.tools.tool_format import ToolFormat


class CallParser:
    """Parses what the grammar of the same format and choice describes.

    An answer that was cut gives the first of the events of the whole; a call whose name is
    incomplete is dropped. Text that was not held to the grammar is content where it is not a call.
    """

    def __init__(self, tool_format: ToolFormat, choice: ToolChoice) -> None:
        self._tool_format = tool_format
        self._required = choice.required
        self._heads = {tool.name + tool_format.middle: tool for tool in choice.tools}
        self._openings = {
            opening + head: tool for opening in tool_format.openings for head, tool in self._heads.items()
        }
        self._nexts = (
            {}
            if tool_format.next is None
            else {tool_format.next + h: tool for h, tool in self._heads.items()}
        )
        self._count = 0

    def parse(self, scanner: Scanner) -> Steps[None]:
        tool_format = self._tool_format
        led = not tool_format.lead or (yield from scanner.expect(tool_format.lead)) is not None
        if not led and tool_format.begun:
            yield from self._call(scanner, self._heads, ("",))
        elif self._required or not tool_format.trigger:
            yield from self._call(scanner, self._openings, tool_format.openings)
        while self._heads and tool_format.trigger and (yield from _text(scanner, tool_format.trigger)):
            yield from self._call(scanner, self._openings, (tool_format.trigger,))
        space = yield from scanner.space()
        if scanner.text or not self._count:  # else it is what calls end with
            yield from _content(space)
        yield from rest(scanner)

    def _call(self, scanner: Scanner, heads: Mapping[str, Tool], signs: tuple[str, ...]) -> Steps[None]:
        """Parse a call and those right behind it. If there is none, the sign that looked like one is content.

        Text that ends right after one of the signs can only have been the beginning of a call.
        """
        tool_format = self._tool_format
        space = yield from scanner.space()
        head = yield from scanner.expect(*heads)
        if head is None and not (scanner.final and self._begun(scanner.text, signs)):
            sign = next((sign for sign in signs if scanner.text.startswith(sign)), "")
            yield from _content(space + scanner.take(len(sign)))
            return
        while head:
            tool, index = heads[head], self._count
            self._count += 1
            yield CallBegin(index, tool_format.new_id(), tool.name)
            if not (yield from self._arguments(scanner, tool, index)):
                break
            heads = self._nexts
            head = yield from scanner.expect(tool_format.end, *heads)
            if head == tool_format.end:
                break
        if scanner.final:  # what is left is a piece of a call
            scanner.text = ""

    def _begun(self, text: str, signs: tuple[str, ...]) -> bool:
        """True if `text` begins a call. If a call is required, a part of its opening sign is enough."""
        return text.startswith(signs) or (self._required and any(head.startswith(text) for head in signs))

    def _arguments(self, scanner: Scanner, tool: Tool, index: int) -> Steps[bool]:
        tool_format = self._tool_format
        if tool_format.argument_syntax is None:
            return (yield from parse_json(scanner, index))
        ends = (tool_format.end,) if tool_format.next is None else (tool_format.end, tool_format.next)
        return (yield from tool_format.argument_syntax.parse(scanner, tool, index, *ends))


def _text(scanner: Scanner, trigger: str) -> Steps[bool]:
    """Parse content up to the trigger; -> whether there is one. White space right before it is left."""
    while piece := (yield from scanner.before(trigger)):
        yield Content(piece)
    return piece is not None


def _content(text: str) -> Steps[None]:
    if text:
        yield Content(text)


def rest(scanner: Scanner) -> Steps[None]:
    """Parse everything that follows as content."""
    while True:
        yield from _content(scanner.take(len(scanner.text)))
        if scanner.final:
            return
        yield None
