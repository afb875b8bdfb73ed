"""LiteLLM, through each of the protocols that it can speak to us."""

from __future__ import annotations

from typing import Any

import litellm
from pydantic import BaseModel

TOOL = {
    "type": "function",
    "function": {
        "name": "set_light",
        "description": "Switch a light on or off",
        "parameters": {
            "type": "object",
            "properties": {"room": {"type": "string"}, "on": {"type": "boolean"}},
            "required": ["room", "on"],
        },
    },
}


class Device(BaseModel):
    room: str
    level: int


def completion(url: str, provider: str, text: str, **options: Any) -> Any:
    return litellm.completion(
        model=f"{provider}/edgeinfer-nano",
        api_base=f"{url}/v1" if provider == "openai" else url,
        api_key="none",
        messages=[{"role": "user", "content": text}],
        temperature=0,
        max_tokens=200,
        **options,
    )


def chat(url: str, provider: str, text: str) -> Any:
    return completion(url, provider, text).choices[0].message.content


def usage(url: str, provider: str, text: str) -> list[int]:
    found = completion(url, provider, text).usage
    return [found.prompt_tokens, found.completion_tokens]


def stream(url: str, provider: str, text: str) -> list[str]:
    chunks = completion(url, provider, text, stream=True)
    return [chunk.choices[0].delta.content or "" for chunk in chunks]


def tool(url: str, provider: str, text: str) -> list[str]:
    (call,) = completion(url, provider, text, tools=[TOOL]).choices[0].message.tool_calls
    return [call.function.name, call.function.arguments]


def streamed_tool(url: str, provider: str, text: str) -> list[str]:
    chunks = list(completion(url, provider, text, tools=[TOOL], stream=True))
    (call,) = litellm.stream_chunk_builder(chunks).choices[0].message.tool_calls
    return [call.function.name, call.function.arguments]


def structured(url: str, provider: str, text: str) -> dict[str, Any]:
    found = completion(url, provider, text, response_format=Device)
    return Device.model_validate_json(found.choices[0].message.content).model_dump()


def embedding(url: str, provider: str) -> int:
    found = litellm.embedding(
        model=f"{provider}/edgeinfer-nano",
        api_base=f"{url}/v1" if provider == "openai" else url,
        api_key="none",
        input=["a", "b"],
    )
    return len(found.data)


def unknown_model(url: str, provider: str) -> str:
    try:
        litellm.completion(
            model=f"{provider}/no-such-model",
            api_base=f"{url}/v1" if provider == "openai" else url,
            api_key="none",
            messages=[{"role": "user", "content": "Hi"}],
            num_retries=0,
        )
    except Exception as error:
        return type(error).__name__
    return ""


def responses(url: str, text: str) -> str:
    found = litellm.responses(
        model="openai/edgeinfer-nano", api_base=f"{url}/v1", api_key="none", input=text, temperature=0
    )
    return str(found.output[0].content[0].text)
