"""The server of `edgeinfer mcp`: a daemon's models for other programs, over stdin and stdout."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

from edgeinfer import __version__
from edgeinfer.client.http import Target
from edgeinfer.mcp.daemon_tools import DaemonTools
from edgeinfer.mcp.transport import check_sdk

if TYPE_CHECKING:
    from mcp.server.mcpserver import MCPServer

ABOUT = "Language models that run on this machine: nothing that they are asked leaves it."


def mcp_server(target: Target, model: str | None) -> MCPServer:
    """Return the server, which speaks every version of the protocol. Raises EdgeinferError without the SDK."""
    check_sdk()
    from mcp.server.mcpserver import MCPServer

    tools = DaemonTools(target, model)
    server = MCPServer("edgeinfer", instructions=ABOUT, version=__version__, log_level="CRITICAL")
    for tool in (tools.list_models, tools.chat, tools.answer_json, tools.complete_code, tools.embed):
        server.add_tool(tool, description=inspect.getdoc(tool), structured_output=False)
    return server


def serve_stdio(target: Target, model: str | None) -> None:
    """Serve until stdin ends."""
    mcp_server(target, model).run("stdio")
