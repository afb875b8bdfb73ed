"""POST /v1/embeddings."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from edgeinfer.server.http.request_model import RequestModel
from edgeinfer.server.openai.schemas.inputs import Inputs


class EmbeddingsRequest(RequestModel):
    input: Annotated[Inputs, Field(max_length=2048)]
    model: str | None = None
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = Field(None, ge=1)

    accepted: ClassVar[frozenset[str]] = frozenset({"user"})
