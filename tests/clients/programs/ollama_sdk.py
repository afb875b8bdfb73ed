"""The newest ollama client."""

from __future__ import annotations

from typing import Any

import ollama
from pydantic import BaseModel


class Light(BaseModel):
    room: str
    on: bool


def client(url: str) -> ollama.Client:
    return ollama.Client(host=url)


def messages(text: str) -> Any:
    return [{"role": "user", "content": text}]


def set_light(room: str, on: bool) -> str:
    """Switch a light on or off.

    Args:
        room: the room.
        on: whether it is to be on.
    """
    return f"{room} {on}"


def models(url: str) -> list[Any]:
    return [(model.model, model.size, model.details.format) for model in client(url).list().models]


def show(url: str, model: str) -> Any:
    shown = client(url).show(model)
    return shown.model_dump(mode="json")


def running(url: str) -> list[Any]:
    return [(m.name, m.context_length, m.expires_at.year) for m in client(url).ps().models]


def chat(url: str, text: str) -> Any:
    options = {"temperature": 0, "num_predict": 24}
    return client(url).chat("default", messages(text), options=options).message.content


def stream(url: str, text: str) -> list[str]:
    options = {"temperature": 0, "num_predict": 24}
    parts = list(client(url).chat("default", messages(text), stream=True, options=options))
    assert [part.done for part in parts] == [False] * (len(parts) - 1) + [True]
    assert parts[-1].eval_count
    assert parts[-1].total_duration
    return [part.message.content or "" for part in parts]


async def stream_async(url: str, text: str) -> list[str]:
    options = {"temperature": 0, "num_predict": 24}
    parts = await ollama.AsyncClient(host=url).chat("default", messages(text), stream=True, options=options)
    return [part.message.content or "" async for part in parts]


def generate(url: str, prompt: str, raw: bool) -> Any:
    answer = client(url).generate("default", prompt, raw=raw, options={"temperature": 0, "num_predict": 8})
    return [answer.response, answer.done_reason]


def tool_round(url: str, text: str) -> Any:
    """A call of a Python function, its result, and the answer to that."""
    asked = messages(text)
    first = client(url).chat("default", asked, tools=[set_light], options={"temperature": 0})
    assert first.message.tool_calls
    call = first.message.tool_calls[0].function
    result = {"role": "tool", "content": set_light(**call.arguments), "tool_name": call.name}
    second = client(url).chat(
        "default", [*asked, first.message, result], tools=[set_light], options={"num_predict": 16}
    )
    return [call.name, dict(call.arguments), second.message.role]


def structured(url: str, text: str) -> Any:
    answer = client(url).chat(
        "default", messages(text), format=Light.model_json_schema(), options={"seed": 1}
    )
    return Light.model_validate_json(answer.message.content or "").model_dump()


def embed(url: str, texts: list[str]) -> list[int]:
    return [len(vector) for vector in client(url).embed("default", texts).embeddings]


def keep(url: str) -> Any:
    """Load with a time, look, and let it stay for ever again."""
    client(url).generate("default", keep_alive="30m")
    (model,) = client(url).ps().models
    client(url).generate("default", keep_alive=-1)
    return model.expires_at.isoformat()


def error_of(url: str, method: str, fields: dict[str, Any]) -> Any:
    try:
        result = getattr(client(url), method)(**fields)
        if fields.get("stream"):
            list(result)
    except ollama.ResponseError as e:
        return [e.status_code, e.error]
    return None
