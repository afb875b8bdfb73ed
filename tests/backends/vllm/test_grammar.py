"""Grammars for vLLM: one text of Lark, with everything that it refers to in it."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from llguidance import LLMatcher

from edgeinfer.backends.vllm.grammar import to_lark
from edgeinfer.chat.reasoning import ReasoningFormat
from edgeinfer.chat.reply import ToolCalling, reply_grammar
from edgeinfer.chat.tools.detect import TOOL_FORMATS
from edgeinfer.chat.tools.tool import ToolChoice
from edgeinfer.errors import UnsupportedParameter
from edgeinfer.grammar.source import Grammar, GrammarSource
from edgeinfer.grammar.to_llguidance import to_llguidance
from tests.support.grammar import accepts, compile_schema
from tests.support.tools import read_tools

LAMP = {
    "type": "function",
    "function": {
        "name": "lamp",
        "parameters": {"type": "object", "properties": {"on": {"type": "boolean"}}, "required": ["on"]},
    },
}


def compiled(*grammars: dict[str, Any]) -> str:
    return json.dumps({"grammars": list(grammars)})


def wire(grammar: Grammar) -> Grammar:
    """A grammar as it travels to the process that compiles it."""
    sources = (
        msgspec.structs.replace(source, content=json.dumps(source.content)) for source in grammar.sources
    )
    return Grammar(grammar.lark, tuple(sources))


def is_sound(lark: str) -> bool:
    failed, messages = LLMatcher.validate_grammar_with_warnings(lark)
    assert not failed, messages
    return True


def test_a_schema_and_a_grammar_are_nested() -> None:
    """With the meaning of a reference by name."""
    lark = to_lark(
        compiled(
            {"name": "main", "lark_grammar": 'start: "a" @one | @two'},
            {"name": "one", "json_schema": {"type": "integer"}},
            {"name": "two", "lark_grammar": 'start: "b" WORD\nWORD: /[a-z}{]+/\n'},
        )
    )
    assert is_sound(lark)
    assert "no_forcing" in lark
    assert "@" not in lark


def test_the_same_answers_are_allowed() -> None:
    """As before it was nested."""
    text = compile_schema({"type": "object", "properties": {"a": {"enum": [1, 22]}}, "required": ["a"]}).text
    for answer in ('{"a": 1}', '{"a": 22}', '{"a": 3}', "{}", '{"a": 1}}'):
        assert accepts(text, answer) == accepts(to_lark(text), answer)


def test_an_at_sign_in_a_text_is_no_reference() -> None:
    """Neither in a string nor in a regular expression."""
    lark = to_lark(
        compiled(
            {"name": "main", "lark_grammar": r'start: "me@one \"@one" /x@one\/@one/ @one'},
            {"name": "one", "json_schema": {"type": "null"}},
        )
    )
    assert is_sound(lark)
    assert r'"me@one \"@one" /x@one\/@one/ embedded_0' in lark


@pytest.mark.parametrize("tool_format", sorted(TOOL_FORMATS))
def test_every_tool_format_can_be_enforced(tool_format: str) -> None:
    """With thoughts before it, and a schema for other answers."""
    calling = ToolCalling(TOOL_FORMATS[tool_format], ToolChoice(read_tools([LAMP]), required=True))
    schema = GrammarSource("answer", "json_schema", {"type": "object"}, "response_format")
    for text in (None, schema):
        grammar = reply_grammar(ReasoningFormat("open"), calling, text)
        assert grammar
        assert is_sound(to_lark(to_llguidance(wire(grammar)).text))


@pytest.mark.parametrize(
    "grammars",
    [
        [{"name": "main", "lark_grammar": "start: @missing"}],
        [{"name": "main", "json_schema": {}}],
        [{"name": "main", "lark_grammar": "start: @a"}, {"name": "a", "json_schema": {}, "other": 1}],
        [{"name": "main", "lark_grammar": "start: @a"}, {"name": "a", "rx": "b"}],
    ],
)
def test_what_cannot_be_enforced_is_refused(grammars: list[dict[str, Any]]) -> None:
    """An answer is never unconstrained."""
    with pytest.raises(UnsupportedParameter, match="cannot enforce"):
        to_lark(compiled(*grammars))
