"""Clients that rely on structure, unchanged, against the bundled model: it need not be right, only keep to form."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import httpx
import instructor
import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from pydantic import BaseModel, Field
from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

from edgeinfer.backends.llama_cpp.client import LlamaClient
from edgeinfer.backends.llama_cpp.config import LlamaConfig
from edgeinfer.chat.tools.detect import MARKERS
from tests.support.server import Served, serving

JSON = {"content-type": "application/json"}
LIGHT = "Turn on the light in the kitchen"


class Device(BaseModel):
    """A device in a house."""

    kind: Literal["light", "fan", "blind"]
    room: str = Field(max_length=12)
    level: int = Field(ge=0, le=100)


class House(BaseModel):
    devices: list[Device] = Field(max_length=2)


class SetLight(BaseModel):
    """Switch a light on or off."""

    room: Literal["kitchen", "hall"]
    on: bool


@pytest.fixture(scope="module")
def served(model_file: Path) -> Iterator[Served]:
    config = LlamaConfig(model=str(model_file), name="nano", ctx=1024, parallel=9, cells=10 * 1024)
    with serving(LlamaClient(config, markers=MARKERS)) as daemon:
        yield daemon


@pytest.fixture
def client(served: Served) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0) as openai:
        yield openai


def test_parse_gives_an_object_of_the_class(client: OpenAI) -> None:
    for seed in range(5):
        completion = client.chat.completions.parse(
            model="nano",
            messages=[{"role": "user", "content": "Describe a house"}],
            response_format=House,
            temperature=1.5,
            seed=seed,
        )
        assert isinstance(completion.choices[0].message.parsed, House)


def test_a_parsed_stream_ends_in_an_object_of_the_class(client: OpenAI) -> None:
    with client.chat.completions.stream(
        model="nano",
        messages=[{"role": "user", "content": LIGHT}],
        response_format=Device,
        temperature=1.0,
        seed=3,
    ) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_completion()
    assert "content.delta" in kinds
    assert isinstance(final.choices[0].message.parsed, Device)


@pytest.mark.parametrize(
    "choice", ["auto", "required", {"type": "function", "function": {"name": "SetLight"}}]
)
def test_pydantic_functions_are_called_with_arguments_of_their_class(client: OpenAI, choice: Any) -> None:
    completion = client.chat.completions.parse(
        model="nano",
        messages=[{"role": "user", "content": LIGHT}],
        tools=[openai.pydantic_function_tool(SetLight)],
        tool_choice=choice,
        temperature=1.5,
        seed=2,
    )
    calls = completion.choices[0].message.tool_calls or []
    assert calls or choice == "auto"
    assert all(isinstance(call.function.parsed_arguments, SetLight) for call in calls)


def test_a_streamed_call_adds_up_to_the_whole_one(client: OpenAI) -> None:
    request: dict[str, Any] = {
        "model": "nano",
        "messages": [{"role": "user", "content": LIGHT}],
        "tools": [openai.pydantic_function_tool(SetLight)],
        "tool_choice": "required",
        "temperature": 1.5,
        "seed": 11,
    }
    whole = client.chat.completions.create(**request).choices[0].message.tool_calls or []
    with client.chat.completions.stream(**request) as stream:
        for _ in stream:
            pass
        streamed = stream.get_final_completion().choices[0].message.tool_calls or []
    assert [(c.function.name, c.function.arguments) for c in whole] == [
        (c.function.name, c.function.arguments) for c in streamed
    ]


@pytest.mark.parametrize("mode", [instructor.Mode.TOOLS, instructor.Mode.JSON_SCHEMA])
def test_instructor_works_unchanged(served: Served, mode: instructor.Mode) -> None:
    with OpenAI(base_url=f"{served.url}/v1", api_key="none") as plain:
        client = instructor.from_openai(plain, mode=mode)
        completion = client.chat.completions.create(
            model="nano", response_model=Device, messages=[{"role": "user", "content": LIGHT}], max_retries=0
        )
    assert isinstance(completion, Device)


async def test_pydantic_ai_works_unchanged(served: Served) -> None:
    async with AsyncOpenAI(base_url=f"{served.url}/v1", api_key="none") as plain:
        model = OpenAIChatModel("nano", provider=OpenAIProvider(openai_client=plain))
        result = await Agent(model, output_type=Device).run(LIGHT)
    assert isinstance(result.output, Device)


DEEP = '{"items": ' * 3000 + "{}" + "}" * 3000

HOSTILE: dict[str, Any] = {
    "deep nesting": DEEP,
    "moderately deep nesting": '{"items": ' * 200 + "{}" + "}" * 200,
    "a reference to itself": {"$ref": "#"},
    "a cycle of references": {
        "$ref": "#/$defs/a",
        "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}},
    },
    "an object that needs itself": {
        "type": "object",
        "properties": {"self": {"$ref": "#"}},
        "required": ["self"],
        "additionalProperties": False,
    },
    "a product of lengths": {
        "type": "array",
        "minItems": 10**6,
        "items": {"type": "array", "minItems": 10**6, "items": {"type": "string", "minLength": 10**9}},
    },
    "a reference elsewhere": {"$ref": "http://127.0.0.1:9/schema.json"},
    "a thousand alternatives of a thousand": {
        "anyOf": [
            {"allOf": [{"enum": [f"{i}-{j}" for j in range(60)]} for _ in range(60)]} for i in range(60)
        ]
    },
    "nothing fits it": {"allOf": [{"type": "integer", "minimum": 5}, {"type": "integer", "maximum": 4}]},
}


def asking_for(schema: Any) -> str:
    """A request's body; a schema that is text already stands in it as it is."""
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": "SCHEMA"}}
    body = {"messages": [{"role": "user", "content": "Hi"}], "response_format": form, "max_tokens": 50}
    return json.dumps(body).replace('"SCHEMA"', schema if isinstance(schema, str) else json.dumps(schema))


@pytest.mark.parametrize(
    "pattern", ["^((a{1,1000}){1,1000}){1,1000}b$", "(?:(?:a|b|ab){500}){500}", "(a|a)*b"]
)
def test_a_pattern_that_would_be_catastrophic_elsewhere_takes_no_time(served: Served, pattern: str) -> None:
    """There is no backtracking."""
    body = asking_for({"type": "string", "pattern": pattern})
    response = served.client.post("/v1/chat/completions", content=body, headers=JSON)
    if response.status_code not in (200, 400):
        assert response.json()["error"]["code"] == "constraint_failed", response.text  # too large on the way
    assert response.elapsed.total_seconds() < 10


@pytest.mark.alone
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_schemas_are_refused_in_time_while_others_stream_on(served: Served, name: str) -> None:
    done = threading.Event()
    gaps: list[float] = []

    def stream(n: int) -> None:
        """One answer after another, for as long as the attack lasts."""
        with httpx.Client(base_url=served.url, timeout=60) as http:
            while not done.is_set():
                body = {"prompt": f"{n} and", "max_tokens": 200, "stream": True, "ignore_eos": True}
                with http.stream("POST", "/v1/completions", json=body) as answer:
                    last = time.monotonic()
                    for _ in answer.iter_lines():
                        now = time.monotonic()
                        gaps.append(now - last)
                        last = now

    body = asking_for(HOSTILE[name])
    with ThreadPoolExecutor(8) as pool, httpx.Client(base_url=served.url, timeout=60) as http:
        streams = [pool.submit(stream, n) for n in range(8)]
        # On a busy machine too, the attack begins while answers are streaming.
        while not gaps and not any(s.done() for s in streams):
            time.sleep(0.05)
        refused = http.post("/v1/chat/completions", content=body, headers=JSON)
        took = refused.elapsed.total_seconds()
        done.set()
        for running in streams:
            running.result()
    assert refused.status_code == 400, refused.text[:300]
    assert refused.json()["error"]["message"]
    assert took < 10  # 2 s on a quiet machine
    assert max(gaps) < 5


def test_a_megabyte_of_tools_is_refused(served: Served) -> None:
    tools = [
        {
            "type": "function",
            "function": {
                "name": f"tool_{n}",
                "parameters": {
                    "type": "object",
                    "properties": {f"p{i}": {"type": "string", "description": "x" * 60} for i in range(50)},
                },
            },
        }
        for n in range(220)
    ]
    body = {"messages": [{"role": "user", "content": "Hi"}], "tools": tools}
    assert len(json.dumps(body)) > 1_000_000
    refused = served.client.post("/v1/chat/completions", json=body)
    assert refused.status_code == 400


def test_eight_forms_at_once_are_all_kept(served: Served) -> None:
    def ask(n: int) -> dict[str, Any]:
        schema = {
            "type": "object",
            "properties": {"n": {"const": n}, "word": {"type": "string", "maxLength": 8}},
            "required": ["n", "word"],
            "additionalProperties": False,
        }
        form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
        response = served.client.post(
            "/v1/chat/completions",
            json={
                "messages": [{"role": "user", "content": "Hi"}],
                "response_format": form,
                "temperature": 1.5,
            },
        )
        answer: dict[str, Any] = json.loads(response.json()["choices"][0]["message"]["content"])
        return answer

    with ThreadPoolExecutor(8) as pool:
        assert [answer["n"] for answer in pool.map(ask, range(24))] == list(range(24))
