"""The body of POST /models/load and /models/unload."""

from __future__ import annotations

from pydantic import Field

from edgeinfer.server.http.request_model import RequestModel


class ModelRequest(RequestModel):
    model: str = Field(max_length=1024)
