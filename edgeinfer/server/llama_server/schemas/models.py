"""POST /models/load and /models/unload, as llama-server's router has them."""

from __future__ import annotations

from pydantic import Field

from edgeinfer.server.http.request_model import RequestModel


class ModelRequest(RequestModel):
    model: str = Field(max_length=1024)
