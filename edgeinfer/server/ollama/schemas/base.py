"""What Ollama's requests have in common."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import BeforeValidator, Field, WithJsonSchema

from edgeinfer.server.http.request_model import RequestModel
from edgeinfer.server.ollama.duration import parse_duration

KeepAlive = Annotated[
    float,
    Field(allow_inf_nan=True),
    BeforeValidator(parse_duration),
    WithJsonSchema({"anyOf": [{"type": "number"}, {"type": "string", "examples": ["5m", "-1"]}]}),
]
"""Seconds; infinity is for ever."""

ModelName = Annotated[str, Field(min_length=1)]


class OllamaRequest(RequestModel):
    """Ollama ignores what it does not know, mistyped or not."""

    forgiving: ClassVar[bool] = True


class NamedRequest(OllamaRequest):
    """A request about one model, which older clients call `name`."""

    model: ModelName
    synonyms: ClassVar[dict[str, str]] = {"name": "model"}
