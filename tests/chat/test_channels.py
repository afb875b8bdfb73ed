"""Answers in channels, as gpt-oss writes them."""

from __future__ import annotations

import pytest

from edgeinfer.chat.parsed_message import ParsedMessage
from edgeinfer.chat.reasoning import REASONING_TAGS, detect_reasoning
from edgeinfer.chat.reply import ReplyParser, ToolCalling, reply_grammar
from edgeinfer.chat.tools.detect import detect_tool_format
from edgeinfer.chat.tools.tool import choose
from edgeinfer.chat.tools.tool_formats import HARMONY
from edgeinfer.grammar.source import GrammarSource
from tests.support.tools import read_tools

TOOLS = read_tools([{"type": "function", "function": {"name": "get_time"}}])
TEMPLATE = """<|start|>assistant<|channel|>analysis<|message|>…<|end|>
<|start|>assistant<|channel|>commentary json<|message|>…<|call|><|start|>assistant<|channel|>final<|message|>"""
ANALYSIS, FINAL = "<|channel|>analysis<|message|>", "<|channel|>final<|message|>"
NEXT = "<|end|><|start|>assistant"


def read(text: str, step: int = 1) -> tuple[str, str, list[tuple[str, str]]]:
    """Thoughts, content and calls of a text that comes in pieces."""
    reasoning = detect_reasoning(TEMPLATE, "<|start|>assistant")
    parser = ReplyParser(reasoning, ToolCalling(HARMONY, choose(TOOLS)))
    pieces = [text[n : n + step] for n in range(0, len(text), step)]
    message = ParsedMessage([event for piece in pieces for event in parser.feed(piece)] + parser.finish())
    return message.reasoning, message.content, [(call.name, call.arguments) for call in message.calls]


def test_a_template_shows_its_channels() -> None:
    """Its thoughts and calls have a form we know."""
    assert detect_tool_format(TEMPLATE) is HARMONY
    reasoning = detect_reasoning(TEMPLATE, "<|start|>assistant")
    assert ("possible", REASONING_TAGS[-1]) == (reasoning.state, reasoning.tags)
    assert f"{ANALYSIS}{NEXT}" == reasoning.skipped


@pytest.mark.parametrize("step", [1, 7, 1000])
@pytest.mark.parametrize(
    ("text", "thoughts", "content", "calls"),
    [
        (f"{ANALYSIS}A sum.{NEXT}{FINAL}4", "A sum.", "4", []),
        (f"{ANALYSIS}A{NEXT}{ANALYSIS}B{NEXT}{FINAL}4\n", "AB", "4\n", []),
        (f"{FINAL}4", "", "4", []),
        ("4", "", "4", []),
        (f"<|channel|>final <|constrain|>json<|message|>{{}}{NEXT}", "", "{}", []),
        (f"{ANALYSIS}A sum", "A sum", "", []),
        (ANALYSIS[:14], "", "", []),
        (f"{ANALYSIS}A{NEXT} to=functions.get_time<|channel|>commentary json<|message|>{{", "A", "", ["{"]),
        ("<|channel|>commentary to=functions.get_time<|message|>{}", "", "", ["{}"]),
        ("<|channel|>commentary to=functions.unknown<|message|>{}", "", "{}", []),
        ("a<|channel|", "", "a<|channel|", []),
    ],
)
def test_an_answer_is_read(text: str, thoughts: str, content: str, calls: list[str], step: int) -> None:
    """However it is cut, and wherever it ends."""
    assert (thoughts, content, [("get_time", one) for one in calls]) == read(text, step)


def test_an_answer_is_held_to_its_channels() -> None:
    """Text goes to final, also under a schema; a call to commentary."""
    reasoning = detect_reasoning(TEMPLATE, "<|start|>assistant")
    schema = GrammarSource("text", "json_schema", {"type": "object"}, "response_format")
    grammar = reply_grammar(reasoning, ToolCalling(HARMONY, choose(())), schema)
    assert grammar is not None
    assert f'answer: "{FINAL}" @text' in grammar.lark
    grammar = reply_grammar(reasoning, ToolCalling(HARMONY, choose(TOOLS, "required")))
    assert grammar is not None
    assert "answer: opened" in grammar.lark
    assert 'opened: ("<|channel|>commentary to=functions.") calls' in grammar.lark
