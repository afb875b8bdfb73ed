"""Our own routes, for monitoring and operating the service."""

from __future__ import annotations

from edgeinfer.mcp.result import McpResult
from edgeinfer.server.admin import health, history, machine, mcp, peers
from edgeinfer.server.http.family import Family, Route
from edgeinfer.server.openai.errors import ErrorEnvelope, render_error, stream_error

GET = ("GET",)


def family() -> Family:
    readiness = {503: health.Readiness}
    return Family(
        name="admin",
        routes=(
            Route("/health", health.health, GET, answers=(health.Health,), is_open=True, is_quiet=True),
            Route(
                "/ready",
                health.ready,
                GET,
                answers=(health.Readiness,),
                errors=readiness,
                is_open=True,
                is_quiet=True,
            ),
            Route("/status", health.status, GET),
            Route("/machine", machine.machine, GET, answers=(machine.Machine,)),
            Route("/history", history.history, GET, answers=(history.Samples,)),
            Route("/peers", peers.peers, GET, answers=(peers.PeerList,), is_quiet=True),
            Route("/mcp/tools", mcp.tools, GET, answers=(mcp.McpServerList,), is_quiet=True),
            Route("/mcp/call", mcp.call, body=mcp.McpCallRequest, answers=(McpResult,)),
            Route(
                "/metrics",
                health.metrics,
                GET,
                media_type="text/plain",
                answers=({"type": "string"},),
                is_quiet=True,
            ),
        ),
        render_error=render_error,
        error_type=ErrorEnvelope,
        stream_error=stream_error,
    )
