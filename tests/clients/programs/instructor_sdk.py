"""Instructor in its modes for OpenAI's and Anthropic's APIs."""

from __future__ import annotations

from typing import Any, Literal

import instructor
from anthropic import Anthropic
from openai import AsyncOpenAI, OpenAI
from pydantic import BaseModel, Field


class Device(BaseModel):
    """A device in a house."""

    kind: Literal["light", "fan", "blind"]
    level: int = Field(ge=0, le=100)


def asking(text: str) -> dict[str, Any]:
    return {
        "model": "default",
        "messages": [{"role": "user", "content": text}],
        "extra_body": {"temperature": 0},  # the anthropic client has no such argument any more
        "max_tokens": 200,
        "max_retries": 0,
    }


def client(url: str, mode: str) -> Any:
    if mode.startswith("ANTHROPIC"):
        plain = Anthropic(base_url=url, api_key="none")
        return instructor.from_anthropic(plain, mode=getattr(instructor.Mode, mode))
    return instructor.from_openai(
        OpenAI(base_url=f"{url}/v1", api_key="none"), mode=getattr(instructor.Mode, mode)
    )


def create(url: str, mode: str, text: str) -> dict[str, Any]:
    found = client(url, mode).chat.completions.create(response_model=Device, **asking(text))
    assert isinstance(found, Device)
    return found.model_dump()


async def create_async(url: str, mode: str, text: str) -> dict[str, Any]:
    found = instructor.from_openai(
        AsyncOpenAI(base_url=f"{url}/v1", api_key="none"), mode=getattr(instructor.Mode, mode)
    )
    device = await found.chat.completions.create(response_model=Device, **asking(text))
    return device.model_dump()


def partial(url: str, mode: str, text: str) -> list[dict[str, Any]]:
    """The object as it grows."""
    states = client(url, mode).chat.completions.create_partial(response_model=Device, **asking(text))
    return [state.model_dump() for state in states]
