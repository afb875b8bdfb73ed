"""Parses answers that are messages in channels: gpt-oss's harmony format.

`<|channel|>analysis<|message|>…<|end|><|start|>assistant<|channel|>final<|message|>…`: thoughts go to the channel
analysis, calls to commentary with a recipient, all other text to final. The token that ends a call or the answer
ends the generation, and is not in the text.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from edgeinfer.chat.events import CallBegin, Content, Event, Reasoning
from edgeinfer.chat.scanner import Scanner, Steps
from edgeinfer.chat.tools.argument_syntax import parse_json

if TYPE_CHECKING:
    from edgeinfer.chat.reply import ToolCalling

MESSAGE = "<|message|>"
"""Stands between a header and a message."""

SIGNS = ("<|end|>", "<|start|>", "<|channel|>", "to=functions.")
"""The beginnings of headers."""

HEADER = re.compile(
    r"(<\|end\|>)?(<\|start\|>a?s?s?i?s?t?a?n?t?)?( ?to=[\w.-]*)?(<\|channel\|>(?P<channel>\w*)( to=[\w.-]*)?)?"
    r"( ?<\|constrain\|>)?( ?\w*)(<\|?\w*\|?)?"
)
"""A header, or as much of it as has come."""

TOOL = re.compile(r"to=functions\.([\w.-]+)")
MAX_HEADER = 200
"""Characters of the longest header that is taken for one."""


class ChannelParser:
    """Parses one answer. Text without a header is content: it continues a message in the prompt."""

    def __init__(self, calling: ToolCalling) -> None:
        self._tool_format = calling.tool_format
        self._tools = {tool.name for tool in calling.choice.tools}
        self._count = 0

    def parse(self, scanner: Scanner) -> Steps[None]:
        """Read messages until the text ends. White space around headers is no part of them."""
        header: str | None = (yield from _header(scanner, first=True)) or ""
        while header is not None:
            tool = TOOL.search(header)
            if tool and tool[1] in self._tools:
                yield CallBegin(self._count, self._tool_format.new_id(), tool[1])
                yield from parse_json(scanner, self._count)
                self._count += 1
                header = yield from _body(scanner, Content, trim=False)
            else:
                match = HEADER.match(header)
                thinks = match and match["channel"] == "analysis"
                header = yield from _body(scanner, Reasoning if thinks else Content)


def _header(scanner: Scanner, first: bool = False) -> Steps[str | None]:
    """Take a message's header, up to where its text begins; -> None, and nothing is taken, if there is none.

    A header that was cut is taken without a word; the first one also if not even its sign is whole.
    """
    while True:
        text = scanner.text.lstrip()
        if text and not text.startswith(SIGNS) and not any(sign.startswith(text) for sign in SIGNS):
            return None
        header, found, rest = text.partition(MESSAGE)
        if not HEADER.fullmatch(header) or len(header) > MAX_HEADER:
            return None
        if found:
            scanner.text = rest
            return header
        if scanner.final:
            if first or header.startswith(SIGNS):
                scanner.text = ""
            return None
        yield None


def _body(scanner: Scanner, event: Callable[[str], Event], trim: bool = True) -> Steps[str | None]:
    """Parse a message's text; -> the header of the next one, None if the text has ended."""
    begun = False
    while True:
        piece = yield from scanner.before("<|")
        if piece is None:
            break
        if not piece:
            header = yield from _header(scanner)
            if header is not None:
                return header
            piece = scanner.take(len(scanner.text) - len(scanner.text.lstrip()) + 2)
        yield event(piece.lstrip() if trim and not begun else piece)
        begun = True
    space, scanner.text = scanner.text, ""
    if space and begun and event is Content:
        yield Content(space)
    return None
