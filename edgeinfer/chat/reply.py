"""The form of a whole answer: its grammar, and the parser that reads it as it comes."""

from __future__ import annotations

import msgspec

from edgeinfer.chat.channels import ChannelParser
from edgeinfer.chat.events import Event
from edgeinfer.chat.lark import starting
from edgeinfer.chat.reasoning import ReasoningFormat
from edgeinfer.chat.scanner import Scanner, Steps
from edgeinfer.chat.tools.grammar import tool_rules
from edgeinfer.chat.tools.parser import CallParser, rest
from edgeinfer.chat.tools.tool import ToolChoice
from edgeinfer.chat.tools.tool_format import ToolFormat
from edgeinfer.grammar.source import Grammar, GrammarSource


class ToolCalling(msgspec.Struct, frozen=True):
    """Which tools one answer may call, and how its model writes the calls."""

    tool_format: ToolFormat
    choice: ToolChoice


def reply_grammar(
    reasoning: ReasoningFormat, calling: ToolCalling | None = None, text: GrammarSource | None = None
) -> Grammar | None:
    """The grammar of a whole answer: thoughts, then text or calls. None if there is nothing to enforce.

    With `text`, an answer that calls nothing is that part and nothing else.
    """
    if calling is None and text is None:
        return None
    thinks = reasoning.state in ("open", "possible")
    excluded = (starting([reasoning.tags.open]),) if reasoning.state == "possible" else ()
    text_rule = f"@{text.name}" if text else None
    if calling is not None:
        answer, parts = tool_rules(calling.tool_format, calling.choice, text_rule, *excluded)
    else:
        answer, parts = [f"answer: {text_rule}"], []
    start = "start: answer"
    if thinks:
        optional = "?" if reasoning.state == "possible" else ""
        start = f"start: thoughts{optional} gap? answer"
        answer = [*reasoning.rules(), r"gap: /\n{1,2}/", *answer]
    return Grammar("\n".join([start, *answer]) + "\n", (*parts, *([text] if text else [])))


class ReplyParser:
    """Turns one answer's text into events. They are the same however the text is cut.

    Without reasoning and tools, all text is content, and comes out at once.
    """

    def __init__(self, reasoning: ReasoningFormat | None = None, calling: ToolCalling | None = None) -> None:
        self._scanner = Scanner()
        self._reasoning = reasoning or ReasoningFormat()
        self._channels = ChannelParser(calling) if calling and calling.tool_format.channels else None
        self._calls = CallParser(calling.tool_format, calling.choice) if calling else None
        self._steps = self._parse()

    def feed(self, text: str) -> list[Event]:
        """The events that `text` completes."""
        self._scanner.text += text
        return self._advance()

    def finish(self) -> list[Event]:
        """The events of text that was held back because it could have been the beginning of something."""
        self._scanner.final = True
        return self._advance()

    def _advance(self) -> list[Event]:
        """The events up to the first None, which asks for more text, or to the end."""
        return list(iter(lambda: next(self._steps, None), None))

    def _parse(self) -> Steps[None]:
        yield from self._reasoning.parse(self._scanner)
        if self._channels:
            yield from self._channels.parse(self._scanner)
        else:
            yield from self._calls.parse(self._scanner) if self._calls else rest(self._scanner)
