"""Agents of pydantic-ai on OpenAI's chat completions."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel
from pydantic_ai import Agent, NativeOutput, ToolOutput
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider


class Device(BaseModel):
    """A device in a house."""

    kind: Literal["light", "fan", "blind"]
    level: int


def agent(url: str, **options: Any) -> Agent[None, Any]:
    model = OpenAIChatModel("default", provider=OpenAIProvider(base_url=f"{url}/v1", api_key="none"))
    return Agent(model, model_settings={"temperature": 0}, **options)


async def answer(url: str, text: str) -> str:
    return str((await agent(url).run(text)).output)


async def stream(url: str, text: str) -> list[str]:
    async with agent(url).run_stream(text) as run:
        return [piece async for piece in run.stream_text(delta=True, debounce_by=None)]


async def tool(url: str, text: str) -> dict[str, Any]:
    """The agent calls our function and answers with what it returned."""
    lights, calls = agent(url), []

    @lights.tool_plain
    def set_light(room: str, on: bool) -> str:
        """Switch a light on or off."""
        calls.append([room, on])
        return "done"

    result = await lights.run(text)
    return {"calls": calls, "answer": result.output, "requests": result.usage.requests}


async def structured(url: str, way: str, text: str) -> dict[str, Any]:
    wrapped: Any = {"native": NativeOutput, "tool": ToolOutput}[way](Device)
    output = (await agent(url, output_type=wrapped).run(text)).output
    assert isinstance(output, Device)
    return output.model_dump()
