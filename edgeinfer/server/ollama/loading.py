"""What a request does to its model before, or instead of, an answer."""

from __future__ import annotations

from typing import Literal

from starlette.requests import Request

from edgeinfer.chat.reasoning import detect_reasoning
from edgeinfer.errors import InvalidRequest
from edgeinfer.inference.types import ModelInfo
from edgeinfer.server.ollama.keep_alive import keep, unload
from edgeinfer.server.ollama.schemas.generation import GenerationRequest
from edgeinfer.serving.model import ServedModel


async def load_or_unload(
    request: Request, model: ServedModel, body: GenerationRequest
) -> Literal["load", "unload"]:
    """Load the model of a request that asks nothing, or unload it; -> what was done.

    Raises:
        Forbidden: this caller may not unload it.
        EdgeinferError: why it cannot be loaded.
    """
    if body.unloads:
        await unload(request, model)
        return "unload"
    await model.ready()
    keep(request, model, body.keep_alive)
    return "load"


async def check_thinking(model: ServedModel, info: ModelInfo, body: GenerationRequest) -> None:
    """Raises InvalidRequest if the request wants thoughts, and the model has none."""
    if not body.think:
        return
    if detect_reasoning(await model.prompt_builder(info).template(), "").state == "none":
        raise InvalidRequest(f'"{body.model}" does not support thinking', param="think")
