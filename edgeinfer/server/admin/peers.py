"""GET /peers: how the other boards are."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from edgeinfer.server.http.json_response import json_response
from edgeinfer.server.peers import Peer
from edgeinfer.server.state import state_of


class PeerList(Struct):
    peers: Sequence[Peer]


async def peers(request: Request) -> Response:
    """The nodes of the fleet, and the other boards that the settings name, and how they are."""
    return json_response(PeerList(await state_of(request).peers.get()))
