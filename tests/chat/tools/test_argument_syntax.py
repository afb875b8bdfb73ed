"""Arguments written one by one: every value as its schema has it."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("llguidance")

from edgeinfer.chat.reasoning import ReasoningFormat
from edgeinfer.chat.reply import ReplyParser, ToolCalling, reply_grammar
from edgeinfer.chat.tools.tool import choose
from edgeinfer.chat.tools.tool_format import ToolFormat
from edgeinfer.chat.tools.tool_formats import GEMMA4, GLM, LFM2, QWEN_CODER
from edgeinfer.errors import UnsupportedSchema
from tests.support.answers import accepts, calls_in, parse_pieces
from tests.support.tools import read_tools

forms = pytest.mark.parametrize("form", [QWEN_CODER, GLM, GEMMA4, LFM2], ids=lambda form: form.name)


def required(form: ToolFormat, parameters: dict[str, Any]) -> ToolCalling:
    tool = {"type": "function", "function": {"name": "f", "parameters": parameters}}
    return ToolCalling(form, choose(read_tools([tool]), "required"))


def passes(form: ToolFormat, parameters: dict[str, Any], arguments: dict[str, Any], text: str = "") -> bool:
    """Whether the arguments, as the form writes them, may be said; they are heard as what they were."""
    calls = required(form, parameters)
    grammar = reply_grammar(ReasoningFormat(), calls)
    assert grammar
    said = text or form.write_calls([("f", arguments)])
    if not accepts(grammar, said):
        return False
    assert [("f", arguments)] == calls_in(parse_pieces(ReplyParser(None, calls), said))
    return True


@forms
@pytest.mark.parametrize(
    "value",
    [
        "",
        " ",
        "\n",
        "a\n\n",
        '"quoted"',
        "\\n",
        "3",
        "true",
        "ü😀",
        "</parameter>",
        "}",
        "a, b=c",
        "<|",
        "\t",
    ],
)
def test_strings(form: ToolFormat, value: str) -> None:
    """Plain ones are written as they are, and never taken for anything else."""
    schema = {"properties": {"a": {"type": "string", "description": "d"}, "b": {"type": "string"}}}
    assert passes(form, schema, {"a": value, "b": value})


@forms
@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "integer"}, -12),
        ({"type": "number"}, 1.5),
        ({"type": "boolean"}, True),
        ({"type": "boolean", "enum": [False]}, False),
        ({"type": "null"}, None),
        ({"type": "array", "items": {"type": "string"}}, ["a]", '"', "\n"]),
        ({"type": "object", "properties": {"x": {"type": "integer"}}}, {"x": 1}),
        ({"enum": [1, "a", None]}, None),
        ({"type": "string", "enum": ["a", "ab", "a b"]}, "ab"),
    ],
)
def test_values(form: ToolFormat, schema: Any, value: Any) -> None:
    """Of every type, first and last."""
    text = ""
    if form is LFM2 and schema == {"type": "boolean", "enum": [False]}:
        text = "<|tool_call_start|>[f(a=false)]<|tool_call_end|>"
    assert passes(form, {"properties": {"a": schema}}, {"a": value}, text)


@forms
@pytest.mark.parametrize(
    ("arguments", "good"),
    [
        ({"a": 1, "b": 2, "c": 3}, True),
        ({"b": 2, "c": 3}, True),
        ({"b": 2}, True),
        ({"a": 1, "b": 2}, True),
        ({"a": 1, "c": 3}, False),
        ({}, False),
        ({"b": 2, "a": 1}, False),
        ({"b": 2, "x": 1}, False),
    ],
)
def test_properties(form: ToolFormat, arguments: Any, good: bool) -> None:
    """In the schema's order, none made up, none that is required left out."""
    schema = {"properties": {name: {"type": "integer"} for name in "abc"}, "required": ["b"]}
    assert good == passes(form, schema, arguments)


@forms
def test_what_restricts_a_string_is_enforced(form: ToolFormat) -> None:
    """Then it is written as JSON, in quotes: plain text could not be held to it."""
    schema = {"properties": {"a": {"type": "string", "maxLength": 2}}}
    plain = form.write_calls([("f", {"a": 12})])
    assert passes(form, schema, {"a": "xy"}, plain.replace("12", '"xy"'))
    assert not passes(form, schema, {"a": "xyz"}, plain.replace("12", '"xyz"'))


@forms
def test_definitions_go_with_what_refers_to_them(form: ToolFormat) -> None:
    """And a property that is only required may be anything."""
    schema = {
        "properties": {"a": {"$ref": "#/$defs/n"}},
        "required": ["x"],
        "$defs": {"n": {"type": "integer"}},
    }
    assert passes(form, schema, {"a": 1, "x": [1]})
    assert not passes(form, schema, {"a": [1], "x": 1})


@forms
@pytest.mark.parametrize("keyword", ["anyOf", "patternProperties", "minProperties"])
def test_what_holds_between_properties_is_refused(form: ToolFormat, keyword: str) -> None:
    """Not let through unchecked."""
    calls = required(form, {"type": "object", "properties": {}, keyword: []})
    with pytest.raises(UnsupportedSchema, match=keyword) as caught:
        reply_grammar(ReasoningFormat(), calls)
    assert "tools[0].function.parameters" == caught.value.param
