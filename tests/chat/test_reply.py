"""From text to events, and the grammar of a whole answer."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("llguidance")

from edgeinfer.chat.events import Content
from edgeinfer.chat.reasoning import REASONING_TAGS, ReasoningFormat
from edgeinfer.chat.reply import ReplyParser, ToolCalling, reply_grammar
from edgeinfer.chat.tools.detect import TOOL_FORMATS
from edgeinfer.chat.tools.tool import choose
from edgeinfer.chat.tools.tool_formats import HERMES
from edgeinfer.grammar.source import GrammarSource
from tests.support.answers import accepts, parse_pieces
from tests.support.tools import read_tools

TOOLS = read_tools([{"type": "function", "function": {"name": "f"}}])
ANSWER = GrammarSource(
    "answer", "json_schema", {"type": "object", "additionalProperties": False}, "response_format"
)
PIECES = st.sampled_from(
    [
        "<think>",
        "</think>",
        "<tool_call>",
        "\n",
        '{"name": "',
        "f",
        '", "arguments": ',
        "{}",
        "}",
        "a",
        "<",
        " ",
    ]
)


def test_plain_text_comes_out_as_it_went_in() -> None:
    """At once, and white space too."""
    parser = ReplyParser()
    assert [Content(" a <think>")] == parser.feed(" a <think>")
    assert [Content("\n")] == parser.feed("\n")
    assert [] == parser.feed("") + parser.finish()


def test_an_empty_answer() -> None:
    """Says nothing."""
    for reasoning in (ReasoningFormat(), ReasoningFormat("open"), ReasoningFormat("possible")):
        assert [] == ReplyParser(reasoning, ToolCalling(HERMES, choose(TOOLS))).finish()


@given(
    st.lists(PIECES, max_size=30),
    st.sampled_from(["none", "open", "possible"]),
    st.sampled_from(list(TOOL_FORMATS)),
)
def test_any_text_reads_the_same_however_it_comes(pieces: list[str], state: Any, form: str) -> None:
    """Also such as no grammar would let through; and nothing of it raises."""
    text = "".join(pieces)
    calls = ToolCalling(TOOL_FORMATS[form], choose(TOOLS))
    whole = parse_pieces(ReplyParser(ReasoningFormat(state), calls), [text])
    assert whole == parse_pieces(ReplyParser(ReasoningFormat(state), calls), pieces)
    assert whole == parse_pieces(ReplyParser(ReasoningFormat(state), calls), text)


def test_free_answers_have_no_grammar() -> None:
    """There is nothing to hold them to."""
    assert reply_grammar(ReasoningFormat("open")) is None


@pytest.mark.parametrize("tags", REASONING_TAGS, ids=lambda tags: tags.open)
@pytest.mark.parametrize("state", ["none", "closed", "open", "possible"])
def test_a_form_holds_after_the_thoughts(state: Any, tags: Any) -> None:
    """And not within them."""
    reasoning = ReasoningFormat(state, tags)
    grammar = reply_grammar(reasoning, None, ANSWER)
    assert grammar
    thoughts = f"Hm {{ {tags.close}"
    thoughts = {"open": thoughts, "possible": tags.open + thoughts}.get(state, "")
    assert accepts(grammar, thoughts + "{}")
    assert accepts(grammar, thoughts + ("\n\n" if thoughts else "") + "{}")
    assert accepts(grammar, "{}") == (state != "open")
    assert not accepts(grammar, thoughts + "Hello")
    assert not accepts(grammar, tags.open + "Hm")
    assert [["Content", "{}"]] == [
        e for e in parse_pieces(ReplyParser(reasoning), thoughts + "{}") if e[0] == "Content"
    ]


def test_a_model_that_thinks_may_not_begin_with_white_space_for_ever() -> None:
    """A small one would."""
    grammar = reply_grammar(ReasoningFormat("possible"), None, ANSWER)
    assert grammar
    assert accepts(grammar, "\n\n<think></think>\n\n{}")
    assert not accepts(grammar, "\n\n\n<think></think>{}")
    assert not accepts(grammar, "\n\n\n\n\n{}")


def test_a_trigger_in_thoughts_is_none() -> None:
    """They may consider a call."""
    grammar = reply_grammar(ReasoningFormat("possible"), ToolCalling(HERMES, choose(TOOLS)))
    assert grammar
    text = "<think>Shall I <tool_call>?</think>No."
    assert accepts(grammar, text)
    assert not accepts(grammar, "Shall I <tool_call>?")
    events = parse_pieces(ReplyParser(ReasoningFormat("possible"), ToolCalling(HERMES, choose(TOOLS))), text)
    assert [["Reasoning", "Shall I <tool_call>?"], ["Content", "No."]] == events
