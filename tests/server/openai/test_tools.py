"""Tools, forms and thinking over HTTP, against a model that follows a script."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from edgeinfer.inference.structured_output import ThinkingBudget
from tests.support.server import INFO, Scripted, error, parse, serving

CHATML = (
    "{%- if tools %}<tool_call>{{ tools | tojson }}</tool_call>{% endif -%}"
    "{%- for m in messages %}[{{ m.role }}]{{ m.content }}{{ m.tool_calls or '' }}\n{% endfor -%}"
    "{%- if add_generation_prompt %}[assistant]{% endif %}"
)
THINKING = CHATML + "{%- if add_generation_prompt %}<think>\n{% endif %}{# </think> #}"
TOOL = {
    "type": "function",
    "function": {
        "name": "get_time",
        "parameters": {"type": "object", "properties": {"zone": {"type": "string"}}, "required": ["zone"]},
    },
}
CALL = ('<tool_call>\n{"name": "', 'get_time", "arguments": {"zone"', ': "UTC"}', "}\n</tool_call>")
PERSON = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}


def scripted(*pieces: str, template: str = CHATML) -> Scripted:
    return Scripted(*pieces, info=msgspec.structs.replace(INFO, chat_templates={"default": template}))


def form(schema: Any = PERSON) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "person", "schema": schema}}


def deltas(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [choice["delta"] for event in events for choice in event["choices"]]


def test_a_call_comes_as_one_with_a_name_an_id_and_arguments() -> None:
    with serving(scripted(*CALL)) as served:
        (choice,) = served.chat(tools=[TOOL]).json()["choices"]
    (call,) = choice["message"]["tool_calls"]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] is None
    assert call["id"].startswith("call_")
    assert (call["type"], call["function"]) == (
        "function",
        {"name": "get_time", "arguments": '{"zone": "UTC"}'},
    )


def test_a_streamed_call_has_its_name_first_and_then_its_arguments() -> None:
    with serving(scripted("Let me see. ", *CALL)) as served:
        events = parse(served.chat(tools=[TOOL], stream=True).text)
    said = deltas(events)
    assert said[:2] == [{"role": "assistant", "content": ""}, {"content": "Let me see."}]
    calls = [call for delta in said for call in delta.get("tool_calls", [])]
    assert (calls[0]["index"], calls[0]["type"], calls[0]["function"]) == (
        0,
        "function",
        {"name": "get_time", "arguments": ""},
    )
    assert "".join(call["function"]["arguments"] for call in calls) == '{"zone": "UTC"}'
    assert all("id" not in call and "name" not in call["function"] for call in calls[1:])
    assert events[-1]["choices"][0]["finish_reason"] == "tool_calls"


def test_two_calls_are_told_apart_by_their_index() -> None:
    with serving(scripted(*CALL, "\n", *CALL)) as served:
        whole = served.chat(tools=[TOOL]).json()["choices"][0]["message"]["tool_calls"]
        events = parse(served.chat(tools=[TOOL], stream=True).text)
    calls = [call for delta in deltas(events) for call in delta.get("tool_calls", [])]
    assert len({call["id"] for call in whole}) == 2
    assert [call["index"] for call in calls if "id" in call] == [0, 1]


def test_the_worker_is_given_a_grammar_and_only_where_there_is_a_form() -> None:
    model = scripted("Hi")
    with serving(model) as served:
        served.chat()
        grammars = [model.structured.grammar]
        served.chat(tools=[TOOL], tool_choice="required")
        grammars.append(model.structured.grammar)
        served.chat(response_format={"type": "text"})
        grammars.append(model.structured.grammar)
    assert grammars[0] is None
    assert "get_time" in (grammars[1] or "")
    assert grammars[2] is None


@pytest.mark.parametrize(
    "format",
    [
        {"type": "json_object"},
        form(),
        {"type": "regex", "pattern": "[a-z]+"},
        {"type": "choice", "choices": ["yes", "no"]},
        {"type": "grammar", "grammar": 'root ::= "yes" | "no"'},
        {"type": "grammar", "grammar": 'start: "yes" | "no"', "syntax": "lark"},
    ],
)
@pytest.mark.parametrize("route", ["chat", "complete"])
def test_every_response_format_becomes_a_grammar(format: Any, route: str) -> None:
    model = scripted("{}")
    with serving(model) as served:
        response = getattr(served, route)(response_format=format)
    assert response.status_code in (200, 500)
    assert model.structured.grammar


def test_llama_server_s_fields_mean_the_same() -> None:
    model = scripted("{}")
    with serving(model) as served:
        served.complete(response_format={"type": "grammar", "grammar": 'root ::= "x"'})
        one = model.structured.grammar
        served.complete(grammar='root ::= "x"')
        assert model.structured.grammar == one
        served.complete(response_format=form())
        one = model.structured.grammar
        served.complete(json_schema=PERSON)
        assert model.structured.grammar == one


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tools": [TOOL, TOOL]}, "tools[1].function.name"),
        ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools[0].function.name"),
        ({"tools": [TOOL], "tool_choice": "some"}, "tool_choice"),
        (
            {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "other"}}},
            "tool_choice.function.name",
        ),
        ({"response_format": {"type": "xml"}}, "response_format"),
        ({"response_format": form({"type": "nonsense"})}, "response_format.json_schema.schema"),
        ({"response_format": {"type": "regex", "pattern": "("}}, "response_format.pattern"),
        ({"response_format": {"type": "grammar", "grammar": "root ::= missing"}}, "response_format.grammar"),
        ({"response_format": form(), "grammar": 'root ::= "x"'}, "grammar"),
        ({"length_policy": "complete"}, "length_policy"),
        ({"response_format": form(), "ignore_eos": True}, "ignore_eos"),
        ({"thinking_budget": -1}, "thinking_budget"),
    ],
)
def test_what_makes_no_sense_is_refused_with_its_field(fields: Any, param: str) -> None:
    with serving(scripted("Hi")) as served:
        refused = served.chat(**fields)
    assert refused.status_code == 400
    assert error(refused)["param"] == param


def test_a_tool_s_schema_that_cannot_be_used_is_refused_with_its_field() -> None:
    broken = {
        "type": "function",
        "function": {"name": "f", "parameters": {"type": "object", "properties": 5}},
    }
    with serving(scripted("Hi")) as served:
        refused = served.chat(tools=[TOOL, broken])
    assert refused.status_code == 400
    assert error(refused)["param"] == "tools[1].function.parameters"


def test_thoughts_are_no_content() -> None:
    with serving(scripted("Hm", ", so.\n</th", "ink>\n\nIt is", " 4.", template=THINKING)) as served:
        whole = served.chat().json()["choices"][0]["message"]
        events = parse(served.chat(stream=True).text)
    assert (whole["reasoning_content"], whole["content"]) == ("Hm, so.", "It is 4.")
    said = deltas(events)
    assert "".join(delta.get("reasoning_content", "") for delta in said) == "Hm, so."
    assert "".join(delta.get("content", "") for delta in said) == "It is 4."


def test_a_budget_for_thinking_goes_to_the_worker() -> None:
    model = scripted("Hm</think>4", template=THINKING)
    with serving(model) as served:
        budgets = []
        for fields in ({"thinking_budget": 9}, {"reasoning_effort": "low"}, {"reasoning_effort": "max"}):
            served.chat(**fields)
            budgets.append(model.structured.thinking)
    low = ThinkingBudget(INFO.ctx // 8, True, "<think>", "</think>", "\n</think>\n\n")
    assert budgets == [msgspec.structs.replace(low, tokens=9), low, None]


@pytest.mark.parametrize("fields", [{"reasoning_effort": "none"}, {"thinking_budget": 0}])
def test_thinking_switched_off_is_closed_in_the_prompt(fields: Any) -> None:
    model = scripted("4", template=THINKING)
    with serving(model) as served:
        message = served.chat(**fields).json()["choices"][0]["message"]
    prompt = "".join(span.text for span in model.requests[-1][0] if not isinstance(span, int))
    assert prompt.endswith("</think>\n\n")
    assert "reasoning_content" not in message
    assert message["content"] == "4"


def test_a_finished_answer_is_checked_where_the_grammar_cannot() -> None:
    """The script breaks the schema, as a model can where a rule is beyond the grammar; a cut answer is not judged."""
    schema = {"type": "array", "items": {"type": "string"}, "uniqueItems": True, "minItems": 2}
    with serving(scripted('["a", ', '"a"]')) as served:
        whole, stream = (
            served.chat(response_format=form(schema)),
            served.chat(response_format=form(schema), stream=True),
        )
        text = served.complete(response_format=form(schema))
    assert (whole.status_code, error(whole)["code"]) == (500, "schema_violation")
    assert (text.status_code, error(text)["code"]) == (500, "schema_violation")
    assert parse(stream.text)[-1]["error"]["code"] == "schema_violation"
    with serving(scripted(json.dumps(["a", "b"]))) as served:
        assert served.chat(response_format=form(schema)).status_code == 200


def test_a_round_of_calls_and_results_goes_back_into_the_prompt() -> None:
    model = scripted("It is noon.")
    call = {
        "id": "call_1",
        "type": "function",
        "function": {"name": "get_time", "arguments": '{"zone": "UTC"}'},
    }
    messages = [
        {"role": "user", "content": "What time is it?"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "12:00"},
    ]
    with serving(model) as served:
        response = served.client.post("/v1/chat/completions", json={"messages": messages, "tools": [TOOL]})
    assert response.status_code == 200, response.text
    prompt = "".join(span.text for span in model.requests[-1][0] if not isinstance(span, int))
    assert "get_time" in prompt
    assert "12:00" in prompt


@pytest.mark.parametrize(
    "pieces", [CALL[:2], CALL[:3], (), ("Let me see. ", *CALL[:2]), (*CALL, "\n", *CALL[:2])]
)
def test_an_answer_that_was_cut_can_be_sent_back(pieces: tuple[str, ...]) -> None:
    """Whatever was there of its calls is in the next prompt."""
    with serving(scripted(*pieces)) as served:
        message = served.chat(tools=[TOOL]).json()["choices"][0]["message"]
        calls = message.get("tool_calls", [])
        results = [{"role": "tool", "tool_call_id": call["id"], "content": "noon"} for call in calls]
        user = {"role": "user", "content": "And?"}
        conversation = {"messages": [user, message, *results, user], "tools": [TOOL]}
        assert served.client.post("/v1/chat/completions", json=conversation).status_code == 200
        prompt = served.client.post("/apply-template", json=conversation).json()["prompt"]
    for call in calls:
        assert call["function"]["name"] in prompt.partition("And?")[2]
        assert call["function"]["arguments"][:8] in prompt
    assert prompt.count("noon") == len(calls)
