"""Agents of pydantic-ai, on both of OpenAI's protocols."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel
from pydantic_ai import Agent, NativeOutput, ToolOutput
from pydantic_ai.models import Model
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.openai import OpenAIProvider


class Device(BaseModel):
    """A device in a house."""

    kind: Literal["light", "fan", "blind"]
    level: int


def model(url: str, protocol: str) -> Model:
    provider = OpenAIProvider(base_url=f"{url}/v1", api_key="none")
    if protocol == "responses":
        return OpenAIResponsesModel("default", provider=provider)
    return OpenAIChatModel("default", provider=provider)


def agent(url: str, protocol: str, **options: Any) -> Agent[None, Any]:
    return Agent(model(url, protocol), model_settings={"temperature": 0}, **options)


async def answer(url: str, protocol: str, text: str) -> str:
    return str((await agent(url, protocol).run(text)).output)


async def stream(url: str, protocol: str, text: str) -> list[str]:
    async with agent(url, protocol).run_stream(text) as run:
        return [piece async for piece in run.stream_text(delta=True, debounce_by=None)]


async def tool(url: str, protocol: str, text: str) -> dict[str, Any]:
    """The agent calls our function and answers with what it returned."""
    lights, calls = agent(url, protocol), []

    @lights.tool_plain
    def set_light(room: str, on: bool) -> str:
        """Switch a light on or off."""
        calls.append([room, on])
        return "done"

    result = await lights.run(text)
    return {"calls": calls, "answer": result.output, "requests": result.usage.requests}


async def structured(url: str, protocol: str, way: str, text: str) -> dict[str, Any]:
    wrapped: Any = {"native": NativeOutput, "tool": ToolOutput}[way](Device)
    output = (await agent(url, protocol, output_type=wrapped).run(text)).output
    assert isinstance(output, Device)
    return output.model_dump()
