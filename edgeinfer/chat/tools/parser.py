"""Finds the calls in an answer while it arrives."""

from __future__ import annotations

from collections.abc import Mapping

from edgeinfer.chat.events import CallBegin, Content
from edgeinfer.chat.scanner import Scanner, Steps
from edgeinfer.chat.tools.argument_syntax import parse_json
from edgeinfer.chat.tools.tool import Choice, Tool
from edgeinfer.chat.tools.tool_format import ToolFormat


class CallParser:
    """Parses what the grammar of the same format and choice describes.

    An answer that was cut gives the beginning of what it would have given; the text of a call whose name is
    not complete is dropped. Text that nobody held to the grammar is content where it is no call.
    """

    def __init__(self, form: ToolFormat, choice: Choice) -> None:
        self._form = form
        self._required = choice.required
        self._heads = {tool.name + form.middle: tool for tool in choice.tools}
        self._openings = {
            opening + head: tool for opening in form.openings for head, tool in self._heads.items()
        }
        self._nexts = {} if form.next is None else {form.next + h: tool for h, tool in self._heads.items()}
        self._count = 0

    def parse(self, scanner: Scanner) -> Steps[None]:
        form = self._form
        led = not form.lead or (yield from scanner.expect(form.lead)) is not None
        if not led:
            yield from self._call(scanner, self._heads, ("",))
        elif self._required or not form.trigger:
            yield from self._call(scanner, self._openings, form.openings)
        while self._heads and form.trigger and (yield from _text(scanner, form.trigger)):
            yield from self._call(scanner, self._openings, (form.trigger,))
        space = yield from scanner.space()
        if scanner.text or not self._count:  # else it is what calls end with
            yield from _said(space)
        yield from rest(scanner)

    def _call(self, scanner: Scanner, heads: Mapping[str, Tool], signs: tuple[str, ...]) -> Steps[None]:
        """A call and those right behind it. Or no call; then at least the sign that it looked like is content.

        Text that ends behind one of the signs can have been nothing but the beginning of a call.
        """
        form = self._form
        space = yield from scanner.space()
        head = yield from scanner.expect(*heads)
        if head is None and not (scanner.final and self._begun(scanner.text, signs)):
            sign = next((sign for sign in signs if scanner.text.startswith(sign)), "")
            yield from _said(space + scanner.take(len(sign)))
            return
        while head:
            tool, index = heads[head], self._count
            self._count += 1
            yield CallBegin(index, form.new_id(), tool.name)
            if not (yield from self._arguments(scanner, tool, index)):
                break
            heads = self._nexts
            head = yield from scanner.expect(form.end, *heads)
            if head == form.end:
                break
        if scanner.final:  # what is left is a piece of a call
            scanner.text = ""

    def _begun(self, text: str, signs: tuple[str, ...]) -> bool:
        """Whether that is the beginning of a call. Where a call is required a piece of its sign is enough."""
        return text.startswith(signs) or (self._required and any(head.startswith(text) for head in signs))

    def _arguments(self, scanner: Scanner, tool: Tool, index: int) -> Steps[bool]:
        form = self._form
        if form.fields is None:
            return (yield from parse_json(scanner, index))
        ends = (form.end,) if form.next is None else (form.end, form.next)
        return (yield from form.fields.parse(scanner, tool, index, *ends))


def _text(scanner: Scanner, trigger: str) -> Steps[bool]:
    """Content up to the trigger: whether there is one. White space right before it is not taken."""
    while piece := (yield from scanner.before(trigger)):
        yield Content(piece)
    return piece is not None


def _said(text: str) -> Steps[None]:
    if text:
        yield Content(text)


def rest(scanner: Scanner) -> Steps[None]:
    """All that is to come is content."""
    while True:
        yield from _said(scanner.take(len(scanner.text)))
        if scanner.final:
            return
        yield None
