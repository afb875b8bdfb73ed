"""GET /mcp/tools and POST /mcp/call: tools of MCP servers, for the page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import Struct
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from edgeinfer.errors import Forbidden
from edgeinfer.mcp.result import McpResult
from edgeinfer.server import audit
from edgeinfer.server.auth.principal import principal_of
from edgeinfer.server.auth.rights import check_admin, may_administer
from edgeinfer.server.http.body import read
from edgeinfer.server.http.disconnect import cancel_on_disconnect
from edgeinfer.server.http.json_response import json_response
from edgeinfer.server.http.request_model import RequestModel
from edgeinfer.server.mcp_servers import ListedServer
from edgeinfer.server.state import state_of


class McpServerList(Struct):
    servers: Sequence[ListedServer]


class McpCallRequest(RequestModel):
    name: str = Field(max_length=200)
    arguments: dict[str, Any] = Field(default_factory=dict)


async def tools(request: Request) -> Response:
    """The MCP servers of `mcp_servers`, with their tools; none for a key that may not call them."""
    if not may_administer(principal_of(request.scope)) or _is_foreign(request):
        return json_response(McpServerList(()))
    await request.body()  # what comes after it can only be a disconnect
    listed = await cancel_on_disconnect(request.receive, state_of(request).mcp.listed())
    return json_response(McpServerList(listed))


async def call(request: Request) -> Response:
    """Call a tool of an MCP server. Where keys are required, only an admin key may."""
    principal = principal_of(request.scope)
    check_admin(principal, "call tools of MCP servers")
    if _is_foreign(request):
        raise Forbidden("only the daemon's own page may call tools of MCP servers", param="Origin")
    body = await read(request, McpCallRequest)
    audit.record("call of an MCP tool", tool=body.name, by=principal.label)
    work = state_of(request).mcp.call(body.name, body.arguments)
    result: McpResult = await cancel_on_disconnect(request.receive, work)
    return json_response(result)


def _is_foreign(request: Request) -> bool:
    """Tell if another site's page has sent this. `cors_origins` may let it ask models, but it asks no user first."""
    origin = request.headers.get("origin")
    return (
        origin is not None and origin.partition("://")[2].lower() != request.headers.get("host", "").lower()
    )
