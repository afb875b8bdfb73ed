"""Instructor in the modes that it offers for OpenAI's API."""

from __future__ import annotations

from typing import Any, Literal

import instructor
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
        "temperature": 0,
        "max_retries": 0,
    }


def client(url: str, mode: str) -> Any:
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
