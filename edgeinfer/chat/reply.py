"""From an answer's text, as it comes, to what it says, thinks and calls."""

from __future__ import annotations

import msgspec

from edgeinfer.chat.events import Event
from edgeinfer.chat.lark import starting
from edgeinfer.chat.reasoning import Thinking
from edgeinfer.chat.scanner import Scanner, Steps
from edgeinfer.chat.tools.grammar import rules
from edgeinfer.chat.tools.parser import CallParser, rest
from edgeinfer.chat.tools.tool import Choice
from edgeinfer.chat.tools.tool_format import ToolFormat
from edgeinfer.grammar.source import Grammar, GrammarSource


class ToolCalling(msgspec.Struct, frozen=True):
    """What one answer may call, and how its model writes that."""

    form: ToolFormat
    choice: Choice


def reply_grammar(
    reasoning: Thinking, calls: ToolCalling | None = None, text: GrammarSource | None = None
) -> Grammar | None:
    """The grammar of a whole answer: thoughts, then text or calls. None if there is nothing to hold it to.

    With `text` an answer that calls nothing is that part and nothing else.
    """
    if calls is None and text is None:
        return None
    thinks = reasoning.state in ("open", "possible")
    excluded = (starting([reasoning.tags.open]),) if reasoning.state == "possible" else ()
    said = f"@{text.name}" if text else None
    if calls is not None:
        answer, parts = rules(calls.form, calls.choice, said, *excluded)
    else:
        answer, parts = [f"answer: {said}"], []
    start = "start: answer"
    if thinks:
        optional = "?" if reasoning.state == "possible" else ""
        start = f"start: thoughts{optional} gap? answer"
        answer = [*reasoning.rules(), r"gap: /\n{1,2}/", *answer]
    return Grammar("\n".join([start, *answer]) + "\n", (*parts, *([text] if text else [])))


class ReplyParser:
    """One answer's text in, events out, however the text is cut.

    Without reasoning and calls every text comes out as the content it is.
    """

    def __init__(self, reasoning: Thinking | None = None, calls: ToolCalling | None = None) -> None:
        self._scanner = Scanner()
        self._reasoning = reasoning or Thinking()
        self._calls = CallParser(calls.form, calls.choice) if calls else None
        self._steps = self._parse()

    def feed(self, text: str) -> list[Event]:
        self._scanner.text += text
        return self._run()

    def finish(self) -> list[Event]:
        """What was held back, because it could have been the beginning of something."""
        self._scanner.final = True
        return self._run()

    def _run(self) -> list[Event]:
        """As far as it goes: up to the first None, or the end."""
        return list(iter(lambda: next(self._steps, None), None))

    def _parse(self) -> Steps[None]:
        yield from self._reasoning.parse(self._scanner)
        yield from self._calls.parse(self._scanner) if self._calls else rest(self._scanner)
