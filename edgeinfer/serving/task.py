"""What a model can be asked to do: not every one generates text."""

from __future__ import annotations

from typing import Literal

from edgeinfer.errors import InvalidRequest
from edgeinfer.inference.types import ModelInfo

Task = Literal["generate", "embed", "rerank"]

ROUTES = {
    "generate": "POST /v1/chat/completions",
    "embed": "POST /v1/embeddings",
    "rerank": "POST /v1/rerank",
}

ACTIONS = {"generate": "generate text", "embed": "make embeddings", "rerank": "score documents"}


def tasks(info: ModelInfo) -> tuple[Task, ...]:
    """What the model does, what it was made for first."""
    if info.reranks:
        return ("rerank",)
    return ("generate", "embed") if info.generates else ("embed",)


def check_task(info: ModelInfo, task: Task) -> None:
    """Raises InvalidRequest if the model was not made for the task."""
    if task in (able := tasks(info)):
        return
    made_for = able[0]
    hint = f"use {ROUTES[made_for]}, or name a model that can"
    if task == "rerank":
        hint = "name a reranker; edgeinfer models ls --all shows some"
    raise InvalidRequest(
        f"{info.name} was made to {ACTIONS[made_for]}, and cannot {ACTIONS[task]}", param="model", hint=hint
    )
