"""POST /v1/embeddings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from edgeinfer.server.http.request_model import Harmless, RequestModel
from edgeinfer.server.openai.schemas import foreign_fields
from edgeinfer.server.openai.schemas.inputs import Inputs


class EmbeddingsRequest(RequestModel):
    input: Annotated[Inputs, Field(max_length=2048)]
    model: str | None = None
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = Field(None, ge=1)

    accepted: ClassVar[frozenset[str]] = foreign_fields.EMBEDDING_ACCEPTED
    unsupported: ClassVar[Mapping[str, Harmless]] = foreign_fields.EMBEDDING_UNSUPPORTED
    hints: ClassVar[Mapping[str, str]] = foreign_fields.HINTS
