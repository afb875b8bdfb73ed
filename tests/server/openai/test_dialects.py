"""What other servers' clients write in their own way, asked over HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from edgeinfer.inference.types import Span
from tests.support.server import Scripted, Served, error, serving

USER = {"role": "user", "content": "Hi"}
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
GBNF = 'root ::= "yes" | "no"'


@pytest.fixture(scope="module")
def engine() -> Scripted:
    return Scripted('{"a": 1}')


@pytest.fixture(scope="module")
def served(engine: Scripted) -> Iterator[Served]:
    with serving(engine) as found:
        yield found


def rendered(engine: Scripted) -> str:
    """The prompt of the last request."""
    return "".join(span.text for span in engine.requests[-1][0] if isinstance(span, Span))


@pytest.mark.parametrize(
    "fields",
    [
        {"response_format": {"type": "json_object", "schema": SCHEMA}},
        {"response_format": {"type": "json_schema", "schema": SCHEMA}},
        {"response_format": {"type": "json_schema", "name": "x", "strict": True, "schema": SCHEMA}},
        {"response_format": {"type": "json_schema", "json_schema": {"schema": SCHEMA}}},
        {"json_schema": SCHEMA},
    ],
    ids=str,
)
def test_a_schema_is_enforced_wherever_it_stands(
    served: Served, engine: Scripted, fields: dict[str, Any]
) -> None:
    """All forms of llama-server's compile to one grammar."""
    assert served.chat(**fields).status_code == 200
    grammar = engine.structured.grammar
    assert served.chat(json_schema=SCHEMA).status_code == 200
    assert grammar == engine.structured.grammar is not None


def test_a_schema_in_two_places_is_refused(served: Served) -> None:
    """Only one could count."""
    both = {"type": "json_schema", "schema": SCHEMA, "json_schema": {"schema": SCHEMA}}
    found = served.chat(response_format=both)
    assert (found.status_code, error(found)["param"]) == (400, "response_format.schema")
    found = served.chat(response_format={"type": "json_schema", "schema": {"type": "nonsense"}})
    assert (found.status_code, error(found)["param"]) == (400, "response_format.schema")


def test_a_grammar_beside_the_messages_is_enforced(served: Served, engine: Scripted) -> None:
    """As `response_format` has it."""
    assert served.chat(grammar=GBNF).status_code == 200
    beside = engine.structured.grammar
    assert served.chat(response_format={"type": "grammar", "grammar": GBNF}).status_code == 200
    assert beside == engine.structured.grammar is not None


def test_arguments_may_be_an_object(served: Served, engine: Scripted) -> None:
    """The prompt is that of the same arguments as a text."""

    def prompt(arguments: object) -> str:
        call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": arguments}}
        messages = [USER, {"role": "assistant", "content": None, "tool_calls": [call]},
                    {"role": "tool", "tool_call_id": "c1", "content": "ok"}, USER]  # fmt: skip
        found = served.client.post("/v1/chat/completions", json={"messages": messages})
        assert found.status_code == 200
        return rendered(engine)

    assert prompt({"a": 1}) == prompt(json.dumps({"a": 1}))


def test_a_prediction_changes_nothing(served: Served, engine: Scripted) -> None:
    """It may make an answer faster, and never other."""
    plain = served.chat()
    found = served.chat(prediction={"type": "content", "content": [{"type": "text", "text": "x"}]})
    assert found.status_code == 200
    assert "x-edgeinfer-ignored" not in found.headers
    assert found.json()["choices"] == plain.json()["choices"]


def test_the_continue_button_continues(served: Served, engine: Scripted) -> None:
    """Open WebUI's: the assistant's words are the end of the prompt, and the answer is what follows them."""
    messages = [USER, {"role": "assistant", "content": "Once upon"}]
    fields = {"continue_final_message": True, "add_generation_prompt": False}
    found = served.client.post("/v1/chat/completions", json={"messages": messages, **fields})
    assert found.status_code == 200
    assert rendered(engine) == "[user]Hi\n[assistant]Once upon"
    assert found.json()["choices"][0]["message"]["content"] == '{"a": 1}'


@pytest.mark.parametrize(
    ("messages", "fields", "param"),
    [
        ([USER], {"continue_final_message": True, "add_generation_prompt": False}, "continue_final_message"),
        ([USER], {"continue_final_message": True}, "continue_final_message"),
        ([USER], {"add_generation_prompt": False}, "add_generation_prompt"),
        ([USER, {"role": "assistant", "content": "x"}], {"continue_final_message": False}, "continue_final_message"),
    ],
)  # fmt: skip
def test_what_cannot_be_continued_is_refused(
    served: Served, messages: list[Any], fields: dict[str, Any], param: str
) -> None:
    """Never answered as if nothing had been asked."""
    found = served.client.post("/v1/chat/completions", json={"messages": messages, **fields})
    assert (found.status_code, error(found)["param"]) == (400, param)


@pytest.mark.parametrize(
    ("part", "hint"),
    [
        ({"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}, "describe the image in words"),
        ({"type": "input_image", "image_url": "https://x/y.png"}, "describe the image in words"),
        ({"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}, "send the words that are spoken"),
        ({"type": "file", "file": {"file_id": "f"}}, "send the file's text"),
    ],
)  # fmt: skip
def test_a_picture_or_a_sound_is_refused_with_what_to_do(
    served: Served, part: dict[str, Any], hint: str
) -> None:
    """Where it stands."""
    message = {"role": "user", "content": [{"type": "text", "text": "What is this?"}, part]}
    found = served.client.post("/v1/chat/completions", json={"messages": [message]})
    assert (found.status_code, error(found)["param"]) == (400, "messages[0].content[1].type")
    assert hint in error(found)["hint"]


def test_half_a_character_is_named(served: Served) -> None:
    """With the field, and what it is."""
    body = b'{"messages": [{"role": "user", "content": "smile \\ud83d"}]}'
    found = served.client.post(
        "/v1/chat/completions", content=body, headers={"content-type": "application/json"}
    )
    assert (found.status_code, error(found)["param"]) == (400, "messages[0].content")
    assert "half of a character (\\ud83d" in error(found)["message"]


@pytest.mark.parametrize(
    "parameters",
    [
        {"type": "object", "properties": None, "required": None},
        {"type": "object", "properties": {"a": {"type": "object", "properties": None, "required": None}}},
        {
            "type": "object",
            "properties": {"a": {"type": "array", "items": {"type": "object", "required": None}}},
        },
    ],
)
def test_properties_and_required_that_are_null_are_none(served: Served, parameters: dict[str, Any]) -> None:
    """Servers of MCP that are written in Go send them, and one such tool must not cost the others."""
    tool = {"type": "function", "function": {"name": "f", "parameters": parameters}}
    found = served.chat(tools=[tool], tool_choice="any", max_tokens=60)
    assert found.status_code == 200, found.text


def test_tokens_in_logit_bias_are_numbers(served: Served) -> None:
    """The error says it in words, and not as a regular expression."""
    found = served.chat(logit_bias={"Hello": 1})
    assert (found.status_code, error(found)["param"]) == (400, "logit_bias.Hello")
    assert error(found)["message"].startswith("logit_bias.Hello must be the number of a token")


@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        ({"type": "OBJECT", "properties": {}}, '"object" is written in lower case'),
        ({"type": "string"}, 'write "type": "object"'),
        ({"type": "object", "properties": {"a": {"type": "STRING"}}}, 'write "string", in lower case'),
        ({"type": "object", "properties": {"a": False}, "required": ["a"]}, "the property 'a' is required"),
    ],
)  # fmt: skip
def test_a_tool_s_schema_that_is_wrong_says_where_and_how(
    served: Served, parameters: dict[str, Any], told: str
) -> None:
    """By its field, the property, and what to write."""
    tool = {"type": "function", "function": {"name": "f", "parameters": parameters}}
    found = served.chat(tools=[tool])
    assert (found.status_code, error(found)["param"]) == (400, "tools[0].function.parameters")
    assert told in error(found)["message"]
