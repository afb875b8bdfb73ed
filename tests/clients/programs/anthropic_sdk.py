"""The newest anthropic client."""

from __future__ import annotations

from typing import Any

import anthropic
from anthropic import Anthropic, AsyncAnthropic, beta_tool
from pydantic import BaseModel

SETTINGS: Any = {"model": "default", "max_tokens": 200, "extra_body": {"temperature": 0}}
LIGHT: Any = {
    "name": "set_light",
    "description": "Switch a light on or off.",
    "input_schema": {
        "type": "object",
        "properties": {"room": {"type": "string"}, "on": {"type": "boolean"}},
        "required": ["room", "on"],
    },
}


class Device(BaseModel):
    """A device in a house."""

    room: str
    level: int


def client(url: str) -> Anthropic:
    return Anthropic(base_url=url, api_key="none", max_retries=0)


def asking(text: str, **fields: Any) -> Any:
    return {**SETTINGS, "messages": [{"role": "user", "content": text}], **fields}


def create(url: str, text: str) -> Any:
    return client(url).messages.create(**asking(text)).model_dump()


def raw_stream(url: str, text: str) -> list[str]:
    return [event.type for event in client(url).messages.create(**asking(text), stream=True)]


def stream(url: str, text: str) -> Any:
    """The texts as they came, and the message that the helper made of them."""
    with client(url).messages.stream(**asking(text)) as stream:
        return [list(stream.text_stream), stream.get_final_message().model_dump()]


def beta_stream(url: str, text: str) -> Any:
    with client(url).beta.messages.stream(**asking(text), betas=["some-beta-2026-01-01"]) as stream:
        return [[event.type for event in stream], stream.get_final_message().model_dump()]


async def stream_async(url: str, text: str) -> Any:
    found = AsyncAnthropic(base_url=url, auth_token="none", max_retries=0)
    async with found, found.messages.stream(**asking(text)) as stream:
        texts = [text async for text in stream.text_stream]
        return [texts, (await stream.get_final_message()).model_dump()]


def think(url: str, text: str, tool: Any) -> Any:
    """An answer with thoughts, whole and streamed."""
    fields = asking(text, thinking={"type": "enabled", "budget_tokens": 64}, tools=[tool])
    whole = client(url).messages.create(**fields)
    with client(url).messages.stream(**fields) as stream:
        kinds = [event.type for event in stream]
        return [whole.model_dump()["content"], stream.get_final_message().model_dump()["content"], kinds]


def tool_round(url: str, text: str) -> Any:
    """The model calls a tool; the result goes back; it answers."""
    fields = asking(text, tools=[LIGHT], tool_choice={"type": "any"})
    with client(url).messages.stream(**fields) as stream:
        message = stream.get_final_message()
    call = next(block for block in message.content if block.type == "tool_use")
    result = {"type": "tool_result", "tool_use_id": call.id, "content": [{"type": "text", "text": "done"}]}
    turns = [*fields["messages"], message.to_param(), {"role": "user", "content": [result]}]
    answer = client(url).messages.create(**{**fields, "messages": turns, "tool_choice": {"type": "none"}})
    return {"stop_reason": message.stop_reason, "input": call.input, "answer": answer.model_dump()["content"]}


def run_tools(url: str, text: str) -> Any:
    """The helper calls functions until the model has no more calls."""
    called: list[Any] = []

    @beta_tool  # type: ignore[untyped-decorator]
    def set_light(room: str, on: bool) -> str:
        """Switch a light on or off.

        Args:
            room: Where it is.
            on: Whether it shines.
        """
        called.append({"room": room, "on": on})
        return "done"

    runner = client(url).beta.messages.tool_runner(**asking(text), tools=[set_light], max_iterations=3)
    return {"called": called, "turns": [message.stop_reason for message in runner]}


def parse(url: str, text: str) -> Any:
    """An object of a class, whole and streamed."""
    whole = client(url).messages.parse(**asking(text), output_format=Device)
    beta = client(url).beta.messages.parse(**asking(text), output_format=Device)
    with client(url).messages.stream(**asking(text), output_format=Device) as stream:
        found = [whole, beta, stream.get_final_message()]
    return [message.parsed_output.model_dump() for message in found if message.parsed_output]


def count(url: str, text: str) -> Any:
    """What is counted before, and what the answer says afterwards."""
    prompt = asking(text, tools=[LIGHT], system=[{"type": "text", "text": "Be brief."}])
    usage = client(url).messages.create(**prompt).usage
    counted = client(url).messages.count_tokens(
        **{name: value for name, value in prompt.items() if name not in ("max_tokens", "extra_body")}
    )
    return [counted.input_tokens, usage.input_tokens + (usage.cache_read_input_tokens or 0)]


def models(url: str) -> Any:
    """All pages of one model each."""
    found = client(url)
    return [[model.id for model in found.models.list(limit=1)], found.models.retrieve("default").id]


def failure(url: str, fields: Any, stream: bool) -> Any:
    """What the client raises."""
    try:
        client(url).messages.create(**asking("Hi", **fields), stream=stream)
    except anthropic.APIStatusError as error:
        return [type(error).__name__, error.status_code, error.type, bool(error.request_id), error.message]
    return None


def failure_in_stream(url: str) -> Any:
    try:
        with client(url).messages.stream(**asking("Hi")) as stream:
            stream.until_done()
    except anthropic.APIStatusError as error:
        return [type(error).__name__, error.message]
    return None


def leave_stream(url: str) -> None:
    """Closes the connection in the middle of an answer."""
    with client(url).messages.stream(
        **asking("Hi", max_tokens=1500, extra_body={"temperature": 1})
    ) as stream:
        next(iter(stream))
