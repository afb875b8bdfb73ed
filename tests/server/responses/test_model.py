"""The Responses API with the bundled model in a real worker: grammars hold, and conversations go on."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
from openai import BadRequestError, OpenAI
from pydantic import BaseModel

from edgeinfer.backends.llama_cpp.client import LlamaClient
from edgeinfer.backends.llama_cpp.config import LlamaConfig
from tests.support.server import application, serving

LIGHT: dict[str, Any] = {
    "type": "function",
    "name": "set_light",
    "description": "Switch a light",
    "parameters": {
        "type": "object",
        "properties": {"room": {"type": "string"}, "on": {"type": "boolean"}},
        "required": ["room", "on"],
        "additionalProperties": False,
    },
}


class Answer(BaseModel):
    room: Literal["kitchen", "bedroom"]
    on: bool


@pytest.fixture(scope="module")
def client(model_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenAI]:
    engine = LlamaClient(LlamaConfig(model=str(model_file), name="nano", ctx=512, parallel=2, threads=1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        app = application(engine)
    with (
        serving(engine, app) as served,
        OpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0) as client,
    ):
        yield client


def test_a_call_and_its_result_go_on_by_id(client: OpenAI) -> None:
    """The result alone is sent."""
    tools: Any = [LIGHT]
    first = client.responses.create(
        model="nano", input="turn on the kitchen light", tools=tools, temperature=0, extra_body={"seed": 1}
    )
    (call,) = first.output
    assert call.type == "function_call"
    assert json.loads(call.arguments) == {"room": "kitchen", "on": True}
    second = client.responses.create(
        model="nano",
        previous_response_id=first.id,
        input=[{"type": "function_call_output", "call_id": call.call_id, "output": '{"ok": true}'}],
        tools=tools,
        temperature=0,
        max_output_tokens=40,
    )
    assert second.output_text
    assert second.usage
    assert second.usage.input_tokens_details.cached_tokens > 0


def test_a_schema_holds(client: OpenAI) -> None:
    """Whole and streamed, with one text for one seed."""
    said: dict[str, Any] = {"model": "nano", "input": "turn on the kitchen light", "text_format": Answer}
    whole = client.responses.parse(**said, extra_body={"seed": 3}, max_output_tokens=200)
    assert isinstance(whole.output_parsed, Answer)
    with client.responses.stream(**said, extra_body={"seed": 3}, max_output_tokens=200) as stream:
        final = stream.get_final_response()
    assert final.output_text == whole.output_text


def test_a_regular_expression_of_a_custom_tool_holds(client: OpenAI) -> None:
    """Whatever the model would like to write."""
    tool: Any = {
        "type": "custom",
        "name": "dial",
        "description": "Dials a number",
        "format": {"type": "grammar", "syntax": "regex", "definition": "[0-9]{3,5}"},
    }
    response = client.responses.create(
        model="nano", input="Call somebody", tools=[tool], tool_choice="required", temperature=2
    )
    (call,) = response.output
    assert call.type == "custom_tool_call"
    assert re.fullmatch("[0-9]{3,5}", call.input)


def test_an_answer_that_is_cut_says_so(client: OpenAI) -> None:
    """With the tokens that it was allowed."""
    response = client.responses.create(model="nano", input="Hello!", max_output_tokens=2)
    assert response.status == "incomplete"
    assert response.usage
    assert response.usage.output_tokens == 2
    assert response.output[-1].to_dict()["status"] == "incomplete"


def test_a_conversation_that_is_too_long_is_truncated_where_that_is_allowed(client: OpenAI) -> None:
    """By the model's own count of tokens."""
    long: Any = [{"role": "user", "content": f"Number {n} of many messages"} for n in range(200)]
    response = client.responses.create(
        model="nano", input=long, truncation="auto", temperature=0, max_output_tokens=5
    )
    assert response.usage
    assert 100 < response.usage.input_tokens < 512
    with pytest.raises(BadRequestError) as raised:
        client.responses.create(model="nano", input=long)
    assert raised.value.code == "context_length_exceeded"
    events = list(client.responses.create(model="nano", input=long, stream=True))
    assert events[-1].type == "response.failed"
    assert events[-1].response.error
    assert events[-1].response.error.to_dict()["code"] == "context_length_exceeded"
