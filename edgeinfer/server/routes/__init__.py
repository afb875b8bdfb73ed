"""The routes, one file a family, each with a `router()`."""

from __future__ import annotations

from typing import Any

from edgeinfer.server.schemas.base import RequestModel


def takes(model: type[RequestModel]) -> dict[str, Any]:
    """What /openapi.json says of a route whose body is a `model`; `server.docs` adds the model itself."""
    schema = {"$ref": f"#/components/schemas/{model.__name__}"}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}
