"""GET and POST /lora-adapters: there are none."""

from __future__ import annotations

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from edgeinfer.errors import NotImplementedHere
from edgeinfer.server.http.json_response import json_response


class LoraAdapter(Struct):
    id: int
    path: str
    scale: float


async def lora_adapters(_request: Request) -> Response:
    """An empty list."""
    return json_response([])


async def set_lora_adapters(_request: Request) -> Response:
    """Refused: adapters are not loaded at run time."""
    raise NotImplementedHere(
        "adapters cannot be loaded at run time", hint="merge the adapter into the model's GGUF file"
    )
