"""The families' forms: told from templates in the style of theirs, and read in answers as they write them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from edgeinfer.chat.builtin_templates import CHATML, PLAIN
from edgeinfer.chat.events import CallArguments, CallBegin, Content, Event, Reasoning
from edgeinfer.chat.reasoning import REASONING_TAGS, ReasoningFormat
from edgeinfer.chat.reply import ReplyParser, ToolCalling
from edgeinfer.chat.tools.detect import MARKERS, TOOL_FORMATS, detect_tool_format
from edgeinfer.chat.tools.tool import choose
from edgeinfer.chat.tools.tool_formats import DEEPSEEK, GRANITE, HERMES, LFM2, MISTRAL, PHI4
from edgeinfer.errors import InvalidRequest
from edgeinfer.store.catalogue import catalogue
from tests.support.templates import SAMPLES
from tests.support.tools import read_tools

EXCERPTS = {
    "hermes": """{{- "call it so:\\n<tool_call>\\n{\\"name\\": <name>, \\"arguments\\": <arguments>}\\n</tool_call>" }}""",
    "qwen3-coder": r"""{{- '<tool_call>\n<function=' + call.name + '>\n' }}{{- '<parameter=' + key + '>\n' }}""",
    "glm": r"""{{ '\n<tool_call>' + call.name }}
<arg_key>{{ key }}</arg_key>
<arg_value>{{ value }}</arg_value>""",
    "glm-inline": """{{- '<tool_call>' + call.name }}{{- '<arg_key>' ~ k ~ '</arg_key><arg_value>' ~ v }}""",
    "llama3": r"""{{- '{"name": "' + call.name + '", ' }}{{- '"parameters": ' }}
{{- "<|start_header_id|>ipython<|end_header_id|>\n\n" }}{{- "<|python_tag|>" }}""",
    "mistral": """{{- "[TOOL_CALLS][" }}{{- call.function | tojson }}{{- ', "id": "' + call.id + '"}' }}""",
    "mistral-args": """{{- '[TOOL_CALLS]' + name + '[CALL_ID]' + call.id + '[ARGS]' + arguments }}""",
    "deepseek": r"""{{'<｜Assistant｜><｜tool▁calls▁begin｜><｜tool▁call▁begin｜>' + call['type'] + '<｜tool▁sep｜>'
+ call['function']['name'] + '\n' + '```json' + '\n' + call['function']['arguments']}}""",
    "deepseek-v3.1": """{{'<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>' + name + '<｜tool▁sep｜>' + arguments}}""",
    "functionary": """{{- "<|start_header_id|>" }}{{ '<function=' + name + '>' + arguments + '</function>' }}""",
    "functionary-v3.2": r"""{{ '>>>all\n' + message['content'] }}{{ '>>>' + name + '\n' + arguments }}""",
    "phi4": """{{ '<|' + role + '|>' + content + '<|tool|>' + message['tools'] + '<|/tool|>' + '<|end|>' }}""",
    "functools": """All calls are one list: functools[{"name": [name], "arguments": [arguments]}, ...]""",
    "granite": """{{- '<|start_of_role|>' }} answer only with <|tool_call|> followed by a JSON list of tools used""",
    "gemma4": """{{- '<|tool_call>call:' + function['name'] + '{' -}}""",
    "lfm2": """{{- "List of tools: <|tool_list_start|>[" -}}""",
    "nemotron": """{{- '<TOOLCALL>[' -}}{{- '{"name": "' + name + '", "arguments": ' -}}""",
    "apriel": r"""{{- '\n<tool_calls>[' -}} a list of JSON objects within <tool_call></tool_call>: {"name": ...}""",
    "apertus": """{%- set begin = '<|tools_prefix|>' -%}{%- set end = '<|tools_suffix|>' -%}""",
    "command-r7b": """<|START_ACTION|>[{"tool_call_id": "{{ id }}", "tool_name": "{{ name }}"}]<|END_ACTION|>""",
    "minicpm": """<function name="function-name"><param name="param-name">param-value</param></function>""",
    "seed": r"""{{"<seed:tool_call>\n<function=example>\n<parameter=example_1>value</parameter>\n"}}""",
    "minimax-m2": """{{- '<minimax:tool_call>' }}<invoke name="tool"><parameter name="key">value</parameter>""",
    "harmony": """{{- "<|start|>assistant to=functions." + name + "<|channel|>commentary json<|message|>" }}
{{- "<|start|>assistant<|channel|>final<|message|>" + message.content + "<|end|>" }}""",
    "generic": """{{ '<start_of_turn>' + role + '\n' + message['content'] | trim + '<end_of_turn>\n' }}""",
}

TOOLS = read_tools(
    [
        {
            "type": "function",
            "function": {
                "name": "get_weather",
                "parameters": {
                    "type": "object",
                    "properties": {
                        "city": {"type": "string"},
                        "days": {"type": "integer"},
                        "rain": {"type": "boolean"},
                        "places": {"type": "array"},
                    },
                    "required": ["city"],
                },
            },
        },
        {"type": "function", "function": {"name": "get_time"}},
    ]
)
PARIS = ("get_weather", {"city": "Paris", "days": 2})
TIME: tuple[str, Any] = ("get_time", {})

ANSWERS: list[tuple[str, str, str, list[tuple[str, Any]]]] = [
    (
        "hermes",
        '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris", "days": 2}}\n</tool_call>\n'
        '<tool_call>\n{"name": "get_time", "arguments": {}}\n</tool_call>',
        "",
        [PARIS, TIME],
    ),
    (
        "hermes",
        'I look.\n\n<tool_call>{"name": "get_weather", "arguments": {"city": "Paris", "days": 2}}\n</tool_call>\n',
        "I look.",
        [PARIS],
    ),
    (
        "qwen3-coder",
        "Let me see.\n<tool_call>\n<function=get_weather>\n<parameter=city>\nParis\n</parameter>\n"
        "<parameter=days>\n2\n</parameter>\n</function>\n</tool_call>",
        "Let me see.",
        [PARIS],
    ),
    (
        "qwen3-coder",
        '<tool_call>\n<function=get_weather>\n<parameter=city>\n\nLine 1\n  <b>"2"\\n\n\n</parameter>\n'
        '<parameter=places>\n["a", {"b": null}]\n</parameter>\n</function>\n</tool_call>\n'
        "<tool_call>\n<function=get_time>\n</function>\n</tool_call>",
        "",
        [("get_weather", {"city": '\nLine 1\n  <b>"2"\\n\n', "places": ["a", {"b": None}]}), TIME],
    ),
    ("llama3", '{"name": "get_weather", "parameters": {"city": "Paris", "days": 2}}', "", [PARIS]),
    (
        "llama3",
        '<|python_tag|>{"name": "get_weather", "parameters": {"city": "Paris", "days": 2}}',
        "",
        [PARIS],
    ),
    ("llama3", '{"type": "function", "name": "get_time", "parameters": {}}', "", [TIME]),
    ("llama3", 'As {"name": "get_time", "parameters": {}}', 'As {"name": "get_time", "parameters": {}}', []),
    (
        "mistral",
        '[TOOL_CALLS] [{"name": "get_weather", "arguments": {"city": "Paris", "days": 2}}, '
        '{"name": "get_time", "arguments": {}}]',
        "",
        [PARIS, TIME],
    ),
    (
        "mistral-args",
        'Sure.[TOOL_CALLS]get_weather[ARGS]{"city": "Paris", "days": 2}[TOOL_CALLS]get_time[ARGS]{}',
        "Sure.",
        [PARIS, TIME],
    ),
    (
        "deepseek",
        "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>get_weather\n```json\n"
        '{"city": "Paris", "days": 2}\n```<｜tool▁call▁end｜>\n<｜tool▁call▁begin｜>function<｜tool▁sep｜>get_time\n'
        "```json\n{}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
        "",
        [PARIS, TIME],
    ),
    (
        "deepseek-v3.1",
        'Now.<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>get_weather<｜tool▁sep｜>{"city": "Paris", "days": 2}'
        "<｜tool▁call▁end｜><｜tool▁call▁begin｜>get_time<｜tool▁sep｜>{}<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
        "Now.",
        [PARIS, TIME],
    ),
    (
        "functionary",
        '<function=get_weather>{"city": "Paris", "days": 2}</function><function=get_time>{}</function>',
        "",
        [PARIS, TIME],
    ),
    ("functionary-v3.2", 'all\nSure.>>>get_weather\n{"city": "Paris", "days": 2}', "Sure.", [PARIS]),
    ("functionary-v3.2", 'get_weather\n{"city": "Paris", "days": 2}>>>get_time\n{}', "", [PARIS, TIME]),
    (
        "phi4",
        '<|tool_call|>[{"name": "get_weather", "arguments": {"city": "Paris", "days": 2}}]<|/tool_call|>',
        "",
        [PARIS],
    ),
    (
        "functools",
        'functools[{"name": "get_weather", "arguments": {"city": "Paris", "days": 2}}]',
        "",
        [PARIS],
    ),
    (
        "granite",
        '<|tool_call|> [{"name": "get_weather", "arguments": {"city": "Paris", "days": 2}}]',
        "",
        [PARIS],
    ),
    (
        "gemma4",
        '<|tool_call>call:get_weather{city:<|"|>Paris<|"|>,days:2}<tool_call|><|tool_call>call:get_time{}<tool_call|>',
        "",
        [PARIS, TIME],
    ),
    (
        "lfm2",
        '<|tool_call_start|>[get_weather(city="Paris", days=2), get_time()]<|tool_call_end|>',
        "",
        [PARIS, TIME],
    ),
    (
        "lfm2",
        '<|tool_call_start|>[get_weather(city="), \\"", rain=True)]<|tool_call_end|>',
        "",
        [("get_weather", {"city": '), "', "rain": True})],
    ),
    (
        "glm",
        "<tool_call>get_weather\n<arg_key>city</arg_key>\n<arg_value>Paris</arg_value>\n"
        "<arg_key>days</arg_key>\n<arg_value>2</arg_value>\n</tool_call>",
        "",
        [PARIS],
    ),
    (
        "glm-inline",
        "<tool_call>get_weather<arg_key>city</arg_key><arg_value>Paris</arg_value><arg_key>days</arg_key>"
        "<arg_value>2</arg_value></tool_call>",
        "",
        [PARIS],
    ),
    (
        "nemotron",
        '<TOOLCALL>[{"name": "get_weather", "arguments": {"city": "Paris", "days": 2}}, '
        '{"name": "get_time", "arguments": {}}]</TOOLCALL>',
        "",
        [PARIS, TIME],
    ),
    ("apriel", '<tool_calls>[{"name": "get_time", "arguments": {}}]</tool_calls>', "", [TIME]),
    (
        "apertus",
        '<|tools_prefix|>[{"get_weather": {"city": "Paris", "days": 2}}]<|tools_suffix|>',
        "",
        [PARIS],
    ),
    (
        "command-r7b",
        'I look.\n<|START_ACTION|>[\n    {"tool_call_id": "0", "tool_name": "get_weather", '
        '"parameters": {"city": "Paris", "days": 2}}\n]<|END_ACTION|>',
        "I look.",
        [PARIS],
    ),
    (
        "minicpm",
        '<function name="get_weather"><param name="city"><![CDATA[Paris]]></param><param name="days">2</param>'
        '</function>\n<function name="get_time"></function>',
        "",
        [PARIS, TIME],
    ),
    (
        "seed",
        "<seed:tool_call>\n<function=get_weather>\n<parameter=city>Paris</parameter>\n"
        "<parameter=days>2</parameter>\n</function>\n</seed:tool_call>\n"
        "<seed:tool_call>\n<function=get_time>\n</function>\n</seed:tool_call>",
        "",
        [PARIS, TIME],
    ),
    (
        "minimax-m2",
        'Now.\n<minimax:tool_call>\n<invoke name="get_weather">\n<parameter name="city">Paris</parameter>\n'
        '<parameter name="days">2</parameter>\n</invoke>\n<invoke name="get_time">\n</invoke>\n'
        "</minimax:tool_call>",
        "Now.",
        [PARIS, TIME],
    ),
    (
        "harmony",
        '<|channel|>commentary to=functions.get_weather <|constrain|>json<|message|>{"city": "Paris", "days": 2}',
        "",
        [PARIS],
    ),
    (
        "harmony",
        "<|channel|>commentary<|message|>I look. <|end|><|start|>assistant to=functions.get_time"
        "<|channel|>commentary json<|message|>{}",
        "I look.",
        [TIME],
    ),
    ("harmony", "<|channel|>final<|message|>So <|it|> is.\n\n2 <| 3", "So <|it|> is.\n\n2 <| 3", []),
    ("generic", 'Well.\n<tool_call>\n{"name": "get_time", "arguments": {}}\n</tool_call>', "Well.", [TIME]),
]


def events(form: str, text: str, reasoning: ReasoningFormat | None = None) -> list[Event]:
    parser = ReplyParser(reasoning, ToolCalling(TOOL_FORMATS[form], choose(TOOLS)))
    return [event for char in text for event in parser.feed(char)] + parser.finish()


def content_of(answer_events: list[Event]) -> tuple[str, str, list[tuple[str, Any]]]:
    """Thoughts, content and calls."""
    calls = [
        (
            begin.name,
            json.loads(
                "".join(e.text for e in answer_events if isinstance(e, CallArguments) and e.index == n)
            ),
        )
        for n, begin in enumerate(e for e in answer_events if isinstance(e, CallBegin))
    ]
    thoughts = "".join(e.text for e in answer_events if isinstance(e, Reasoning))
    return thoughts, "".join(e.text for e in answer_events if isinstance(e, Content)), calls


@pytest.mark.parametrize("name", EXCERPTS)
def test_a_template_shows_its_form(name: str) -> None:
    """By what it writes around calls, or tells the model to write."""
    assert name == detect_tool_format(EXCERPTS[name]).name


def test_every_form_has_a_template_that_shows_it() -> None:
    """Otherwise nobody would ever get it."""
    assert set(EXCERPTS) == set(TOOL_FORMATS)


@pytest.mark.parametrize(
    ("sample", "name"),
    [
        ("qwen", "hermes"),
        ("llama3", "llama3"),
        ("r1", "deepseek"),
        ("mistral", "generic"),
        ("gemma", "generic"),
    ],
)
def test_samples(sample: str, name: str) -> None:
    assert name == detect_tool_format(SAMPLES[sample][0]).name


@pytest.mark.parametrize("source", [CHATML, PLAIN, ""])
def test_a_template_that_shows_nothing_has_the_generic_form(source: str) -> None:
    """Then we say ourselves how a call is written."""
    assert "generic" == detect_tool_format(source).name


def test_a_name_overrides_the_template() -> None:
    """And must be one there is."""
    assert "lfm2" == detect_tool_format(EXCERPTS["hermes"], "lfm2").name
    with pytest.raises(InvalidRequest, match="unknown tool format 'x'") as caught:
        detect_tool_format("", "x")
    assert "hermes" in str(caught.value.hint)


@pytest.mark.parametrize(("form", "text", "content", "calls"), ANSWERS)
def test_an_answer_is_read(form: str, text: str, content: str, calls: list[tuple[str, Any]]) -> None:
    """Letter by letter."""
    assert ("", content, calls) == content_of(events(form, text))
    tags = REASONING_TAGS[-1 if TOOL_FORMATS[form].channels else 0]
    thought = f"{tags.open}{tags.open_end}Hm, <tool_call>?{tags.open_end}{tags.close}{tags.close_end}{text}"
    answer = events(form, thought, ReasoningFormat("possible", tags))
    assert ("Hm, <tool_call>?", content, calls) == content_of(answer)


def test_every_form_is_read_in_an_answer() -> None:
    """None was forgotten above."""
    assert set(TOOL_FORMATS) == {form for form, _, _, _ in ANSWERS}


def test_a_call_streams() -> None:
    """The name as soon as it is whole, then the arguments as they come."""
    parser = ReplyParser(None, ToolCalling(HERMES, choose(TOOLS)))
    assert [] == parser.feed('<tool_call>\n{"name": "get_weather", "argum')
    (begin,) = parser.feed('ents": ')
    assert isinstance(begin, CallBegin)
    assert (0, "get_weather") == (begin.index, begin.name)
    assert [CallArguments(0, '{"city": "Pa')] == parser.feed('{"city": "Pa')
    assert [CallArguments(0, 'ris"}')] == parser.feed('ris"}')
    assert [] == parser.feed("}\n</tool_call>") + parser.finish()


def test_text_is_held_back_only_where_it_could_be_a_call() -> None:
    """And the white space before a call is nobody's."""
    parser = ReplyParser(None, ToolCalling(HERMES, choose(TOOLS)))
    assert [Content("a <")] == parser.feed("a < ")[:1]
    assert [Content(" b")] == parser.feed("b\n\n<tool")
    assert [Content("\n\n<toolbox>")] == parser.feed("box>")


@pytest.mark.parametrize("name", TOOL_FORMATS)
def test_ids(name: str) -> None:
    """OpenAI's style, or the only one that Mistral's templates take."""
    form = TOOL_FORMATS[name]
    id = form.new_id()
    assert id != form.new_id()
    assert len(id) == (9 if "mistral" in name else 29)
    assert id.removeprefix("call_").isalnum()
    assert id.startswith("call_") == ("mistral" not in name)


def test_ids_of_others_become_short_where_they_must() -> None:
    """The same one always the same; a good one stays."""
    assert "call_1234567890" == HERMES.known_id("call_1234567890")
    assert "abcDEF123" == MISTRAL.known_id("abcDEF123")
    short = MISTRAL.known_id("call_1234567890")
    assert (9, True) == (len(short), short.isalnum())
    assert short == MISTRAL.known_id("call_1234567890") != MISTRAL.known_id("call_1234567891")


def test_calls_and_results_are_written_as_their_family_does() -> None:
    """For templates that leave them out."""
    calls = [("f", {"a": "ü", "b": [True]}), ("g", {})]
    assert '<|tool_call_start|>[f(a="ü", b=[true]), g()]<|tool_call_end|>' == LFM2.write_calls(calls)
    assert '<|tool_call|>[{"name": "g", "arguments": {}}]' == GRANITE.write_calls(calls[1:])
    assert "<tool_response>\nr\n</tool_response>" == HERMES.write_result("r")
    assert "<｜tool▁outputs▁begin｜>" in DEEPSEEK.write_result("r")


def test_the_section_on_tools() -> None:
    """Their functions, and an example; or what the family was trained on."""
    tool = {"type": "function", "function": {"name": "f", "description": "d"}}
    section = HERMES.section([tool])
    assert '{"name": "f", "description": "d"}' in section
    assert section.endswith(
        '<tool_call>\n{"name": "FUNCTION", "arguments": {"ARGUMENT": "VALUE"}}\n</tool_call>'
    )
    assert '<|tool|>[{"name": "f", "description": "d"}]<|/tool|>' == PHI4.section([tool])


def test_markers() -> None:
    """What begins a call, if it looks like a token, is among them; and the tags of thoughts."""
    triggers = {form.trigger for form in TOOL_FORMATS.values() if form.trigger.startswith(("<", "["))}
    assert {*triggers, "<think>", "</think>", "[/THINK]", "<|python_tag|>"} <= set(MARKERS)


def test_the_catalogue_names_forms_that_there_are() -> None:
    named = {spec.tool_format for spec in catalogue().values()} - {None}
    assert named <= set(TOOL_FORMATS)
