"""Requests about models, and for embeddings."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from edgeinfer.server.http.request_model import Items
from edgeinfer.server.ollama.schemas.base import KeepAlive, ModelName, NamedRequest, OllamaRequest

MAX_INPUTS = 2048


class ShowRequest(NamedRequest):
    """What Ollama would put in place of the model's own has no effect."""

    system: Any = None
    template: Any = None
    options: Any = None
    verbose: bool = False


class PullRequest(NamedRequest):
    stream: bool = True
    insecure: Any = None
    username: Any = None
    password: Any = None


class DeleteRequest(NamedRequest):
    pass


class EmbedRequest(OllamaRequest):
    """`truncate`: cut inputs that are longer than the context."""

    model: ModelName
    input: str | Annotated[Items[str], Field(max_length=MAX_INPUTS)] = ""
    truncate: bool = True
    dimensions: int | None = Field(None, ge=0)
    keep_alive: KeepAlive | None = None
    options: Any = None

    @property
    def texts(self) -> list[str]:
        if isinstance(self.input, str):
            return [self.input] if self.input else []
        return self.input


class EmbeddingRequest(OllamaRequest):
    """The older form, for one text."""

    model: ModelName
    prompt: str = ""
    keep_alive: KeepAlive | None = None
    options: Any = None
