"""Unknown fields of requests: ignored, named, counted; refused if they look mistyped."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from edgeinfer.errors import InvalidRequest, UnknownParameter
from edgeinfer.server.http.request_model import RequestModel, Strict, validate
from edgeinfer.server.http.unknown_fields import MAX_DIFFERENT, MAX_NAMED, UnknownFields, near_miss
from edgeinfer.server.openai.schemas.chat import ChatRequest
from tests.support.server import Scripted, Served, error, parse, serving

IGNORED = "x-edgeinfer-ignored"
USER = {"role": "user", "content": "Hi"}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "x-any": 1}}}


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with serving(Scripted("Hello")) as found:
        yield found


@pytest.mark.parametrize(
    ("fields", "ignored"),
    [
        ({"colour": "red"}, "colour"),
        ({"messages": [USER, {**USER, "id": "m1"}]}, "messages[1].id"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "x", "a": 1}]}]},
         "messages[0].content[0].a"),
        ({"tools": [{**TOOL, "server": "s"}], "tool_choice": "none"}, "tools[0].server"),
        ({"messages": [{**USER, "id": 1}], "chat_id": 5, "session_x": {}},
         "chat_id, session_x, messages[0].id"),
        ({"response_format": {"type": "text", "hue": 1}}, "response_format.hue"),
        ({"options": {"turbo": True}}, "turbo"),
        ({"reasoning": {"effort": "low", "mood": 1}}, "reasoning.mood"),
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("stream", [False, True])
def test_an_unknown_field_is_ignored_and_named(
    served: Served, fields: dict[str, Any], ignored: str, stream: bool
) -> None:
    """The answer is that of the request without it; a stream names it before the first event."""
    answer = served.client.post("/v1/chat/completions", json={"messages": [USER], "stream": stream, **fields})
    assert answer.status_code == 200
    assert set(answer.headers[IGNORED].split(", ")) == set(ignored.split(", "))
    assert "Hello" in (str(parse(answer.text)) if stream else answer.text)


def test_a_request_of_known_fields_has_no_such_header(served: Served) -> None:
    """Also with a null, which counts as absent, and with free objects, which may have any names."""
    answer = served.chat(
        colour=None,
        metadata={"colour": 1},
        chat_template_kwargs={"colour": 1},
        tools=[TOOL],
        tool_choice="none",
    )
    assert answer.status_code == 200
    assert IGNORED not in answer.headers


@pytest.mark.parametrize(
    ("fields", "param", "meant"),
    [
        ({"temprature": 1}, "temprature", "temperature"),
        ({"max_tokenz": 1}, "max_tokenz", "max_tokens"),
        ({"maxTokens": 1}, "maxTokens", "max_tokens"),
        ({"functoins": 1}, "functoins", "functions"),
        ({"messages": [USER, {"role": "tool", "content": "x", "tool_call_idd": "a"}]},
         "messages[1].tool_call_idd", "tool_call_id"),
        ({"messages": [{"role": "user", "contents": "x"}]}, "messages[0].contents", "content"),
        ({"stream": True, "stream_options": {"include_usages": True}},
         "stream_options.include_usages", "include_usage"),
        ({"response_format": {"type": "json_schema", "jsonSchema": {}}},
         "response_format.jsonSchema", "json_schema"),
    ],
)  # fmt: skip
def test_a_mistyped_field_is_refused(served: Served, fields: dict[str, Any], param: str, meant: str) -> None:
    """Its sender meant something by it."""
    answer = served.client.post("/v1/chat/completions", json={"messages": [USER], **fields})
    assert (answer.status_code, error(answer)["code"]) == (400, "unknown_parameter")
    assert (error(answer)["param"], error(answer)["hint"]) == (param, f"did you mean {meant!r}?")


@pytest.mark.parametrize(
    "name",
    ["id", "mood", "user_id", "session_id", "tool_ids", "max_input_tokens", "model_item", "models", "mode"],
)
def test_a_name_of_its_own_is_no_mistyped_one(name: str) -> None:
    """Clients' own fields do not resemble ours by accident."""
    assert near_miss(name, ChatRequest.effective) is None


@pytest.mark.parametrize("fields", [{"colour": 1}, {"messages": [{**USER, "colour": 1}]}, {"temprature": 1}])
def test_strict_requests_refuses_all_of_them(fields: dict[str, Any]) -> None:
    """By name, whether something is near or not."""
    with serving(Scripted("x"), strict_requests=True) as served:
        answer = served.client.post("/v1/chat/completions", json={"messages": [USER], **fields})
        assert (answer.status_code, error(answer)["code"]) == (400, "unknown_parameter")
        assert served.chat(colour=None).status_code == 200


def test_a_forgiving_model_ignores_even_mistyped_fields() -> None:
    """For protocols whose clients send anything; also in the objects within."""

    class Inner(Strict):
        name: str = ""

    class Forgiving(RequestModel):
        inner: Inner
        forgiving = True

    unknown = UnknownFields()
    validate(Forgiving, {"inner": {"nmae": 1, "names": 2}, "iner": 3}, unknown)
    assert (unknown.count, unknown.paths) == (3, ["iner", "inner.nmae", "inner.names"])


def test_the_header_is_short_and_plain_whatever_the_names_are(served: Served) -> None:
    """Names with commas, quotes, control characters or line breaks are quoted; many are counted."""
    names = [
        "a, b",
        'q"',
        "line\r\nSet-Cookie: x=1",
        "\x7f",
        "é",
        "",
        "x" * 10_000,
        *(f"m{n}" for n in range(40)),
    ]
    answer = served.chat("Hi", **dict.fromkeys(names, 1))
    assert answer.status_code == 200
    header = answer.headers[IGNORED]
    assert re.fullmatch(r"[ -~]+", header)
    assert "set-cookie" not in answer.headers
    assert len(header) < 20 * 100
    assert header.endswith(f", and {len(names) - MAX_NAMED} more")
    named = re.findall(r'"(?:[^"\\]|\\.)*"', header)
    assert [json.loads(name) for name in named][:5] == [*names[:4], "é"]


def test_ignored_fields_are_counted_by_route(served: Served) -> None:
    """No name from outside becomes a label."""

    def count() -> float:
        text = served.client.get("/metrics").text
        found = re.search(r'edgeinfer_ignored_fields_total\{route="/v1/completions"\} (\S+)', text)
        return float(found[1]) if found else 0.0

    before = count()
    served.complete(colour=1, hue=2)
    assert count() == before + 2
    assert "colour" not in served.client.get("/metrics").text


def test_unknown_names_beyond_measure_are_refused(served: Served) -> None:
    """No client has so many; one name in many messages is fine."""
    many = {f"x{n}": n for n in range(MAX_DIFFERENT + 1)}
    assert "unknown fields" in error(served.chat("Hi", **many))["message"]
    within = {"messages": [{**USER, **many}]}
    assert served.client.post("/v1/chat/completions", json=within).status_code == 400
    assert served.chat("Hi", **{f"x{n}": n for n in range(MAX_DIFFERENT)}).status_code == 200
    messages = [{**USER, "id": n} for n in range(3000)]
    with pytest.raises(InvalidRequest):
        validate(ChatRequest, {"messages": messages}, UnknownFields(strict=True))
    unknown = UnknownFields()
    validate(ChatRequest, {"messages": messages}, unknown)
    assert (unknown.count, unknown.paths) == (3000, ["messages[0].id"])
    assert unknown.header() == "messages[0].id, and 2999 more"


def test_a_long_name_costs_nothing() -> None:
    """It is compared with nothing, and shown by its beginning."""
    unknown = UnknownFields()
    validate(ChatRequest, {"messages": [{**USER, "y" * 10**6: 1}], "x" * 10**6: 1}, unknown)
    assert [len(path) < 100 for path in unknown.paths] == [True, True]


def test_a_refused_field_in_a_union_leaves_the_other_branches(served: Served) -> None:
    """`tool_choice` may be a word or one of several objects: the nearest error is told."""
    with pytest.raises(UnknownParameter) as e:
        validate(
            ChatRequest,
            {
                "messages": [USER],
                "tools": [TOOL],
                "tool_choice": {"type": "function", "functoin": {"name": "f"}},
            },
        )
    assert e.value.param == "tool_choice.functoin"
