"""Every tool format: what its grammar lets through is what its parser understands."""

from __future__ import annotations

import random
import zlib
from typing import Any

import jsonschema
import msgspec
import pytest

pytest.importorskip("llguidance")

from edgeinfer.chat.reasoning import ReasoningFormat
from edgeinfer.chat.reply import ReplyParser, ToolCalling, reply_grammar
from edgeinfer.chat.tools.detect import TOOL_FORMATS
from edgeinfer.chat.tools.tool import choose, choose_one
from edgeinfer.chat.tools.tool_format import ToolFormat
from edgeinfer.grammar.source import Grammar, GrammarSource
from tests.support.answers import accepts, calls_in, parse_pieces, random_answer
from tests.support.tools import read_tools


def function(name: str, parameters: dict[str, Any] | None = None) -> dict[str, Any]:
    definition: dict[str, Any] = {"name": name} | ({} if parameters is None else {"parameters": parameters})
    return {"type": "function", "function": definition}


WEATHER = {
    "type": "object",
    "properties": {
        "city": {"type": "string"},
        "days": {"type": "integer", "minimum": 0, "maximum": 20},
        "unit": {"type": "string", "enum": ["c", "f"]},
        "rain": {"type": "boolean"},
        "tags": {"type": "array", "items": {"$ref": "#/$defs/tag"}, "maxItems": 2},
    },
    "required": ["city", "rain"],
    "$defs": {"tag": {"type": "string", "maxLength": 3}},
}
TOOLS = read_tools(
    [function("get", WEATHER), function("get_time"), function("get-all.2", {"type": "object"})]
)
SCHEMAS = {tool.name: tool.parameters for tool in TOOLS}
PARIS = {"city": 'Par"is\n ', "days": 3, "unit": "c", "rain": True, "tags": ["a", "]}"]}

CHOICES = {
    "auto": choose(TOOLS),
    "required": choose(TOOLS, "required"),
    "named": choose_one(TOOLS, "get", where="tool_choice"),
    "subset": choose([tool for tool in TOOLS if tool.name in ("get_time", "get")], "required"),
    "none": choose(TOOLS, "none"),
}
STATES = {
    "open": "Hm <tool_call>\n</think>\n\n",
    "possible": "<think>\nHm [TOOL_CALLS]\n</think>\n\n",
    "none": "",
}

forms = pytest.mark.parametrize("form", TOOL_FORMATS.values(), ids=list(TOOL_FORMATS))


def calling(form: ToolFormat, choice: str, parallel: bool = True) -> ToolCalling:
    chosen = CHOICES[choice]
    return ToolCalling(form, msgspec.structs.replace(chosen, parallel=chosen.parallel and parallel))


def grammar(reasoning: ReasoningFormat, calls: ToolCalling, text: GrammarSource | None = None) -> Grammar:
    rules = reply_grammar(reasoning, calls, text)
    assert rules
    return rules


def written(form: ToolFormat, *calls: tuple[str, Any]) -> str:
    """Calls as an answer has them: where the prompt ends with ">>>", the first one goes without."""
    return form.write_calls(calls).removeprefix(form.trigger if form.begun else "")


@forms
@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("parallel", [True, False], ids=["parallel", "single"])
@pytest.mark.parametrize("state", STATES)
def test_random_answers(form: ToolFormat, choice: str, parallel: bool, state: Any) -> None:
    """They parse into calls that their schemas allow, as many as were asked for, however they are cut."""
    calls, reasoning = calling(form, choice, parallel), ReasoningFormat(state)
    chance = random.Random(zlib.crc32(f"{form.name} {choice} {parallel} {state}".encode()))
    begin = ""
    if choice == "auto":  # random text would hardly ever come to call
        begin = STATES[state] + (f"{form.lead}So {form.trigger}" if form.trigger else form.openings[0])
    text, ended = random_answer(grammar(reasoning, calls), chance, begin)
    events = parse_pieces(ReplyParser(reasoning, calls), [text])
    cuts = sorted(chance.choices(range(len(text) + 1), k=20))
    pieces = [text[i:j] for i, j in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert events == parse_pieces(ReplyParser(reasoning, calls), pieces)
    if not ended:
        return
    made = calls_in(events)
    for name, arguments in made:
        jsonschema.validate(arguments, SCHEMAS[name])
        assert name in [tool.name for tool in calls.choice.tools]
    assert len(made) >= (choice in ("required", "named", "subset"))
    assert len(made) <= (9 if parallel and choice not in ("named", "none") else choice != "none")
    if choice == "auto":
        assert made
    else:
        assert not [text for kind, text in events if kind == "Content"] or choice == "none"


@forms
@pytest.mark.parametrize("state", STATES)
def test_a_written_answer_is_let_through_and_heard(form: ToolFormat, state: Any) -> None:
    """Thoughts, text and calls, as the family writes them."""
    calls, reasoning = calling(form, "auto"), ReasoningFormat(state)
    made = [("get", PARIS), ("get_time", {}), ("get", {"city": "", "rain": False})]
    made = made if form.next is not None else made[:1]
    body = written(form, *made)
    if form.trigger:
        body = f"{form.lead}So:\n\n{form.write_calls(made)}"
    text = STATES[state] + body
    assert accepts(grammar(reasoning, calls), text)
    events = parse_pieces(ReplyParser(reasoning, calls), text)
    assert events[0][0] == ("CallBegin" if state == "none" and not form.trigger else events[0][0])
    assert made == calls_in(events)
    assert [form.trigger and "So:"] == ([text for kind, text in events if kind == "Content"] or [""])
    assert (state != "none") == ("Reasoning" in [kind for kind, _ in events])


@forms
def test_a_cut_answer_is_the_beginning_of_the_whole(form: ToolFormat) -> None:
    """At every place. Only what may be text still is taken for text."""
    calls = calling(form, "auto")
    made = [("get", PARIS), ("get_time", {})][: 2 if form.next is not None else 1]
    text = f"{form.lead}So:\n{form.write_calls(made)}" if form.trigger else written(form, *made)
    whole = parse_pieces(ReplyParser(None, calls), [text])
    for end in range(len(text)):
        events = parse_pieces(ReplyParser(None, calls), [text[:end]])
        if events and events[-1][0] == "Content":
            assert text.startswith(form.lead + events[-1][1].rstrip())
            continue
        assert events[:-1] == whole[: max(0, len(events) - 1)]
        assert not events or whole[len(events) - 1][1].startswith(events[-1][1])


@forms
@pytest.mark.parametrize("choice", ["auto", "none"])
def test_text_stays_text(form: ToolFormat, choice: str) -> None:
    """Also such as looks like markup."""
    calls = calling(form, choice)
    said = 'If a < b, {"a": [1]} and >> then\n\n'
    assert accepts(grammar(ReasoningFormat(), calls), form.lead + said)
    assert [["Content", said]] == parse_pieces(ReplyParser(None, calls), form.lead + said)


@forms
def test_no_call_where_there_is_to_be_none(form: ToolFormat) -> None:
    """Nor one of an unknown tool where there may be one."""
    call = written(form, ("get", PARIS))
    assert accepts(grammar(ReasoningFormat(), calling(form, "auto")), call)
    assert not accepts(grammar(ReasoningFormat(), calling(form, "none")), call)
    assert not accepts(grammar(ReasoningFormat(), calling(form, "auto")), written(form, ("unknown", {})))
    assert not accepts(grammar(ReasoningFormat(), calling(form, "required")), form.lead + "Hello")
    assert not accepts(grammar(ReasoningFormat(), calling(form, "named")), written(form, ("get_time", {})))


@forms
@pytest.mark.parametrize("state", ["none", "open"])
def test_text_of_a_form_instead_of_calls(form: ToolFormat, state: Any) -> None:
    """A response format holds whatever is no call."""
    schema = {"type": "object", "properties": {"name": {"type": "string"}}, "additionalProperties": False}
    rules = grammar(
        ReasoningFormat(state), calling(form, "auto"), GrammarSource("answer", "json_schema", schema, "x")
    )
    thoughts = STATES[state]
    for said in ('{"name": "x"}', "{}"):
        assert accepts(rules, thoughts + form.lead + said)
        parser = ReplyParser(ReasoningFormat(state), calling(form, "auto"))
        assert ["Content", said] == parse_pieces(parser, thoughts + form.lead + said)[-1]
    assert accepts(rules, thoughts + written(form, ("get", PARIS)))
    assert not accepts(rules, thoughts + form.lead + "Hello")


@forms
def test_what_nobody_held_to_the_grammar_is_content(form: ToolFormat) -> None:
    """Text that only begins like a call, and text after one."""
    calls = calling(form, "auto")
    if form.trigger:
        text = f"{form.lead}a {form.trigger}{form.trigger}!"
        assert [["Content", text.removeprefix(form.lead)]] == parse_pieces(ReplyParser(None, calls), text)
    text = written(form, ("get_time", {})) + " Done."
    assert [("get_time", {})] == calls_in(parse_pieces(ReplyParser(None, calls), text))
    assert ["Content", " Done."] == parse_pieces(ReplyParser(None, calls), text)[-1]


@pytest.mark.parametrize("form", TOOL_FORMATS.values(), ids=TOOL_FORMATS)
@pytest.mark.parametrize("choice", ["required", "named", "subset"])
def test_required_call_cut_anywhere_is_never_content(form: ToolFormat, choice: str) -> None:
    calls = ToolCalling(form, CHOICES[choice])
    grammar = reply_grammar(ReasoningFormat(), calls)
    assert grammar
    text, _ = random_answer(grammar, random.Random(zlib.crc32(form.name.encode())))
    for size in range(len(text)):
        events = parse_pieces(ReplyParser(ReasoningFormat(), calls), [text[:size]])
        assert not [said for kind, said in events if kind == "Content"], text[:size]
