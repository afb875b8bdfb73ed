"""The newest openai client."""

from __future__ import annotations

from typing import Any

import openai
from openai import AsyncOpenAI, OpenAI
from pydantic import BaseModel


class SetLight(BaseModel):
    """Switch a light on or off."""

    room: str
    on: bool


def client(url: str) -> OpenAI:
    return OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)


def messages(text: str) -> Any:
    return [{"role": "user", "content": text}]


def models(url: str) -> list[str]:
    return [model.id for model in client(url).models.list()]


def chat(url: str, text: str) -> str | None:
    answer = client(url).chat.completions.create(model="default", messages=messages(text), temperature=0)
    return answer.choices[0].message.content


def stream(url: str, text: str) -> list[str]:
    chunks = client(url).chat.completions.create(
        model="default", messages=messages(text), temperature=0, stream=True
    )
    return [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]


async def stream_async(url: str, text: str) -> list[str]:
    async with AsyncOpenAI(base_url=f"{url}/v1", api_key="none") as found:
        chunks = await found.chat.completions.create(
            model="default", messages=messages(text), temperature=0, stream=True
        )
        return [chunk.choices[0].delta.content or "" async for chunk in chunks if chunk.choices]


def tool_round(url: str, text: str) -> dict[str, Any]:
    """The model calls a tool; the result goes back; it answers."""
    tools: Any = [openai.pydantic_function_tool(SetLight)]
    said = messages(text)
    asked = client(url).chat.completions.parse(
        model="default", messages=said, tools=tools, tool_choice="required", temperature=0
    )
    message = asked.choices[0].message
    (call,) = message.tool_calls or []
    said += [message, {"role": "tool", "tool_call_id": call.id, "content": "done"}]
    answer = client(url).chat.completions.create(model="default", messages=said, tools=tools, temperature=0)
    parsed = call.function.parsed_arguments
    assert isinstance(parsed, SetLight)
    return {"arguments": parsed.model_dump(), "answer": answer.choices[0].message.content}


def unknown_model(url: str) -> list[Any]:
    try:
        client(url).chat.completions.create(model="gpt-4o", messages=messages("Hi"))
    except openai.NotFoundError as error:
        return [error.status_code, error.code, str(error)]
    return []


def leave_stream(url: str) -> None:
    """Closes the connection in the middle of an answer."""
    stream = client(url).chat.completions.create(
        model="default",
        messages=messages("Hi"),
        stream=True,
        max_tokens=1500,
        extra_body={"ignore_eos": True},
    )
    next(iter(stream))
    stream.close()
