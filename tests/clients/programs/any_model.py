"""Each library with a model that writes nonsense: what is enforced holds, and a stream says what the answer says."""

from __future__ import annotations

import json
from itertools import islice
from typing import Any

import instructor
import litellm
from anthropic import Anthropic
from langchain_openai import ChatOpenAI
from ollama import Client
from openai import BadRequestError, OpenAI
from pydantic import BaseModel
from pydantic_ai import Agent, NativeOutput
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

TEXT = "Once"
ASKED: list[Any] = [{"role": "user", "content": TEXT}]
SWITCH = {"type": "object", "properties": {"on": {"type": "boolean"}}, "required": ["on"]}
FUNCTION = {"name": "set", "description": "Switch", "parameters": SWITCH}
TOOL: Any = {"type": "function", "function": FUNCTION}
TOKENS = 24


class Switch(BaseModel):
    on: bool


def openai(url: str) -> OpenAI:
    return OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)


def openai_texts(url: str) -> list[str]:
    chat = openai(url).chat.completions
    options: dict[str, Any] = {"model": "default", "messages": ASKED, "max_tokens": TOKENS, "temperature": 0}
    whole = chat.create(**options).choices[0].message.content
    pieces = [chunk.choices[0].delta.content or "" for chunk in chat.create(**options, stream=True)]
    return [whole or "", "".join(pieces)]


def openai_tool(url: str) -> Any:
    found: Any = openai(url).chat.completions.create(
        model="default",
        messages=ASKED,
        tools=[TOOL],
        tool_choice="required",
        parallel_tool_calls=False,
        temperature=0,
    )
    (call,) = found.choices[0].message.tool_calls
    return json.loads(call.function.arguments)


def openai_json(url: str) -> Any:
    found = openai(url).chat.completions.parse(
        model="default", messages=ASKED, response_format=Switch, temperature=0
    )
    parsed = found.choices[0].message.parsed
    return parsed and parsed.model_dump()


def openai_error(url: str) -> list[Any]:
    try:
        openai(url).chat.completions.create(
            model="default", messages=[{"role": "user", "content": "x" * 100_000}]
        )
    except BadRequestError as e:
        return [e.status_code, e.code]
    return []


def openai_disconnect(url: str) -> int:
    """Leave a stream after its first piece."""
    with openai(url).completions.create(
        model="default", prompt=TEXT, stream=True, extra_body={"ignore_eos": True}
    ) as stream:
        return len(list(islice(stream, 1)))


def responses_texts(url: str) -> list[str]:
    responses = openai(url).responses
    options: dict[str, Any] = {
        "model": "default",
        "input": TEXT,
        "max_output_tokens": TOKENS,
        "temperature": 0,
    }
    with responses.stream(**options) as stream:
        pieces = [event.delta for event in stream if event.type == "response.output_text.delta"]
    return [responses.create(**options).output_text, "".join(pieces)]


def responses_tool(url: str) -> Any:
    tool: Any = {"type": "function", "strict": True, **FUNCTION}
    found = openai(url).responses.create(
        model="default", input=TEXT, tools=[tool], tool_choice="required", parallel_tool_calls=False
    )
    (call,) = [item for item in found.output if item.type == "function_call"]
    return json.loads(call.arguments)


def responses_json(url: str) -> Any:
    found = openai(url).responses.parse(model="default", input=TEXT, text_format=Switch)
    return found.output_parsed and found.output_parsed.model_dump()


def anthropic_texts(url: str) -> list[str]:
    messages = Anthropic(base_url=url, api_key="none").messages
    options: dict[str, Any] = {"model": "default", "messages": ASKED, "max_tokens": TOKENS}
    options["extra_body"] = {"temperature": 0}
    with messages.stream(**options) as stream:
        streamed = "".join(stream.text_stream)
    return ["".join(block.text for block in messages.create(**options).content), streamed]


def anthropic_tool(url: str) -> Any:
    tool: Any = {"name": "set", "description": "Switch", "input_schema": SWITCH}
    found = Anthropic(base_url=url, api_key="none").messages.create(
        model="default",
        max_tokens=200,
        messages=ASKED,
        tools=[tool],
        tool_choice={"type": "tool", "name": "set"},
    )
    (call,) = [block for block in found.content if block.type == "tool_use"]
    return call.input


def ollama_texts(url: str) -> list[str]:
    client = Client(host=url)
    options: dict[str, Any] = {"model": "default", "messages": ASKED}
    options["options"] = {"num_predict": TOKENS, "temperature": 0}
    pieces = [part.message.content or "" for part in client.chat(**options, stream=True)]
    return [client.chat(**options).message.content or "", "".join(pieces)]


def ollama_json(url: str) -> Any:
    found = Client(host=url).chat(model="default", messages=ASKED, format=Switch.model_json_schema())
    return json.loads(found.message.content or "")


def instructor_json(url: str) -> Any:
    client = instructor.from_openai(openai(url), mode=instructor.Mode.TOOLS)
    return client.chat.completions.create(
        model="default", messages=ASKED, response_model=Switch, max_retries=0
    ).model_dump()


def pydantic_ai_json(url: str) -> Any:
    model = OpenAIChatModel("default", provider=OpenAIProvider(base_url=f"{url}/v1", api_key="none"))
    return Agent(model, output_type=NativeOutput(Switch)).run_sync(TEXT).output.model_dump()


def langchain_json(url: str) -> Any:
    chat = ChatOpenAI(model="default", base_url=f"{url}/v1", api_key="none", max_retries=0)
    return chat.with_structured_output(Switch, method="json_schema").invoke(TEXT).model_dump()


def litellm_tool(url: str) -> Any:
    found = litellm.completion(
        model="openai/default",
        api_base=f"{url}/v1",
        api_key="none",
        messages=ASKED,
        tools=[TOOL],
        tool_choice="required",
        parallel_tool_calls=False,
    )
    (call,) = found.choices[0].message.tool_calls
    return json.loads(call.function.arguments)
