"""Details of OpenAI's API that its own client relies on, against the bundled model."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import OpenAI
from openai.types.chat import ChatCompletionMessageParam

from edgeinfer.backends.llama_cpp.client import LlamaClient
from edgeinfer.backends.llama_cpp.config import LlamaConfig
from edgeinfer.chat.tools.detect import MARKERS
from tests.support.server import Scripted, Served, error, serving

LIGHT: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Turn on the light in the kitchen"}]
SET_LIGHT: Any = {
    "name": "set_light",
    "description": "Switch a light on or off.",
    "parameters": {
        "type": "object",
        "properties": {"room": {"enum": ["kitchen", "hall"]}, "on": {"type": "boolean"}},
        "required": ["room", "on"],
    },
}


@pytest.fixture(scope="module")
def served(model_file: Path) -> Iterator[Served]:
    config = LlamaConfig(model=str(model_file), name="nano", ctx=512, parallel=4, cells=2048)
    with serving(LlamaClient(config, markers=MARKERS)) as found:
        yield found


@pytest.fixture(scope="module")
def client(served: Served) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0) as found:
        yield found


def test_a_function_of_the_old_form_is_called_in_the_old_form(client: OpenAI) -> None:
    """As before there were tools: one call, without an id."""
    answer = client.chat.completions.create(
        model="nano", messages=LIGHT, functions=[SET_LIGHT], function_call={"name": "set_light"}, temperature=0
    )  # fmt: skip
    choice = answer.choices[0]
    assert (choice.finish_reason, choice.message.tool_calls) == ("function_call", None)
    assert choice.message.function_call
    assert choice.message.function_call.name == "set_light"
    assert set(json.loads(choice.message.function_call.arguments)) == {"room", "on"}


def test_a_streamed_function_adds_up_to_the_whole_one(client: OpenAI) -> None:
    """The name first, then the arguments in pieces."""
    fields: dict[str, Any] = {
        "functions": [SET_LIGHT],
        "function_call": {"name": "set_light"},
        "temperature": 0,
    }
    whole = client.chat.completions.create(model="nano", messages=LIGHT, **fields)
    chunks = list(client.chat.completions.create(model="nano", messages=LIGHT, stream=True, **fields))
    calls = [
        c.choices[0].delta.function_call for c in chunks if c.choices and c.choices[0].delta.function_call
    ]
    assert "".join(call.name or "" for call in calls) == "set_light"
    expected = whole.choices[0].message.function_call
    assert expected
    assert "".join(call.arguments or "" for call in calls) == expected.arguments
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "function_call"
    assert not [c for c in chunks if c.choices and c.choices[0].delta.tool_calls]


def test_a_function_s_result_is_answered(client: OpenAI) -> None:
    """In a conversation of the old form, which goes on."""
    call = {"name": "set_light", "arguments": '{"room": "kitchen", "on": true}'}
    messages: list[Any] = [
        *LIGHT,
        {"role": "assistant", "content": None, "function_call": call},
        {"role": "function", "name": "set_light", "content": "ok"},
    ]
    answer = client.chat.completions.create(
        model="nano", messages=messages, functions=[SET_LIGHT], function_call="none", max_tokens=8
    )  # fmt: skip
    assert answer.choices[0].message.function_call is None
    assert answer.choices[0].finish_reason in ("stop", "length")


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"functions": [SET_LIGHT], "tools": [{"type": "function", "function": SET_LIGHT}]}, "functions"),
        ({"functions": [SET_LIGHT], "function_call": {"name": "other"}}, "function_call.name"),
        ({"functions": [{**SET_LIGHT, "name": "a b"}]}, "functions[0].name"),
        ({"function_call": {"name": "other"}}, "function_call.name"),
    ],
)
def test_functions_that_make_no_sense_are_refused_by_name(
    client: OpenAI, fields: dict[str, Any], param: str
) -> None:
    """With the fields of the old form."""
    with pytest.raises(openai.BadRequestError) as e:
        client.chat.completions.create(model="nano", messages=LIGHT, extra_body=fields)
    assert e.value.param == param


def test_the_stream_helper_sees_what_the_whole_answer_has(client: OpenAI) -> None:
    """Content, log-probabilities and usage of several answers, with the client's own accumulation."""
    fields: dict[str, Any] = {"model": "nano", "messages": LIGHT, "seed": 7, "max_completion_tokens": 300, "n": 2,
                              "logprobs": True, "top_logprobs": 2}  # fmt: skip
    whole = client.chat.completions.create(**fields)
    with client.chat.completions.stream(**fields, stream_options={"include_usage": True}) as stream:
        kinds = {event.type for event in stream}
        final = stream.get_final_completion()
    assert {
        "chunk",
        "content.delta",
        "content.done",
        "logprobs.content.delta",
        "logprobs.content.done",
    } <= kinds
    assert [c.message.content for c in final.choices] == [c.message.content for c in whole.choices]
    assert [c.finish_reason for c in final.choices] == [c.finish_reason for c in whole.choices]
    for streamed, choice in zip(final.choices, whole.choices, strict=True):
        assert streamed.logprobs
        assert choice.logprobs
        assert [t.token for t in streamed.logprobs.content or ()] == [
            t.token for t in choice.logprobs.content or ()
        ]
    assert final.usage
    assert whole.usage
    assert final.usage.completion_tokens == whole.usage.completion_tokens


def test_fields_that_bookkeep_or_wish_do_not_get_in_the_way(client: OpenAI) -> None:
    """What is only wished for is named as ignored."""
    raw = client.chat.completions.with_raw_response.create(
        model="nano",
        messages=LIGHT,
        max_tokens=1,
        service_tier="flex",
        verbosity="low",
        modalities=["text"],
        store=True,
        metadata={"a": "b"},
        user="me",
        safety_identifier="s",
        prompt_cache_key="k",
        prediction={"type": "content", "content": "x"},
        parallel_tool_calls=True,
        reasoning_effort="none",
    )
    assert raw.headers["x-edgeinfer-ignored"] == "verbosity"
    assert int(raw.headers["openai-processing-ms"]) >= 0
    assert raw.parse()._request_id == raw.headers["x-request-id"]


@pytest.mark.parametrize(
    "fields", [{"modalities": ["text", "audio"]}, {"audio": {"voice": "x", "format": "wav"}}]
)
def test_sound_is_refused(client: OpenAI, fields: dict[str, Any]) -> None:
    """Its caller would wait for it."""
    with pytest.raises(openai.BadRequestError) as e:
        client.chat.completions.create(model="nano", messages=LIGHT, extra_body=fields)
    assert e.value.param == next(iter(fields))


def test_completions_take_tokens_and_echo_them(client: OpenAI, served: Served) -> None:
    """A list of tokens is the text that they stand for."""
    tokens = served.client.post("/tokenize", json={"content": "Turn on"}).json()["tokens"]
    fields: dict[str, Any] = {"model": "nano", "temperature": 0, "max_tokens": 4, "echo": True}
    by_tokens = client.completions.create(prompt=[tokens, tokens], best_of=1, **fields)
    by_text = client.completions.create(prompt="Turn on", **fields)
    assert {choice.text for choice in by_tokens.choices} == {by_text.choices[0].text}
    assert by_text.choices[0].text.startswith("Turn on")


def test_best_of_is_taken_where_there_is_nothing_to_choose(client: OpenAI) -> None:
    """As many as are asked for; more are refused, with the way out."""
    answer = client.completions.create(model="nano", prompt="x", n=2, best_of=2, max_tokens=1)
    assert len(answer.choices) == 2
    with pytest.raises(openai.BadRequestError, match="use n, and choose"):
        client.completions.create(model="nano", prompt="x", n=2, best_of=3, max_tokens=1)
    with pytest.raises(openai.BadRequestError) as e:
        client.completions.create(model="nano", prompt="x", echo=True, logprobs=1, max_tokens=1)
    assert e.value.param == "echo"


def test_a_limited_caller_sees_what_is_left() -> None:
    """In the headers that OpenAI's clients read."""
    with serving(Scripted(), requests_per_minute=3) as served:
        found = [served.chat() for _ in range(4)]
        names = ("limit", "remaining", "reset")
        headers = [[r.headers.get(f"x-ratelimit-{name}-requests") for name in names] for r in found]
        assert headers[:3] == [["3", "2", "20s"], ["3", "1", "40s"], ["3", "0", "60s"]]
        assert (found[3].status_code, error(found[3])["code"]) == (429, "rate_limit_exceeded")
        assert int(found[3].headers["retry-after"]) <= 20
