"""GET /history: the last minutes."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from edgeinfer.server.history import Sample
from edgeinfer.server.http.json_response import json_response
from edgeinfer.server.state import state_of


class Samples(Struct):
    samples: Sequence[Sample]


async def history(request: Request) -> Response:
    """What the daemon has done in the last five minutes, the oldest sample first."""
    return json_response(Samples(state_of(request).history.samples))
