"""Ways to a server, for the SDK's client: a guarded process, or HTTP with limits."""

from __future__ import annotations

import logging
import shlex
import sys
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import IO, Any

import msgspec

from edgeinfer.errors import EdgeinferError
from edgeinfer.ipc.module_command import module_command
from edgeinfer.mcp.guarded_server import JOB, ServerJob
from edgeinfer.mcp.limits import MAX_MESSAGE, MAX_UNASKED
from edgeinfer.mcp.server_config import McpServerConfig

EXTRA_HINT = f"{shlex.quote(sys.executable)} -m pip install 'edgeinfer[mcp]'"

CONNECT_TIMEOUT = 10.0
"""Seconds."""


def check_sdk() -> None:
    """Raises EdgeinferError, with the command that helps, if the SDK is not installed."""
    try:
        import mcp.client.client  # noqa: F401
    except ImportError as e:
        raise EdgeinferError(f"MCP needs the extra mcp, which is not installed ({e})", hint=EXTRA_HINT) from e
    for name in (
        "mcp",
        "client",
    ):  # it logs what servers send, with tracebacks, where nobody has set logging up
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)


def open_transport(server: McpServerConfig, errors: IO[str]) -> AbstractAsyncContextManager[Any]:
    """Return the SDK's transport to a server. `errors`: a file for why the connection has ended."""
    return (_stdio if server.transport == "stdio" else _http)(server, errors)


def _stdio(server: McpServerConfig, errors: IO[str]) -> AbstractAsyncContextManager[Any]:
    from mcp.client.stdio import StdioServerParameters, get_default_environment, stdio_client

    assert server.command
    job = ServerJob([server.command, *server.args], {**get_default_environment(), **server.env}, server.cwd)
    program, *arguments = module_command("edgeinfer.mcp.guarded_server")
    parameters = StdioServerParameters(
        command=program,
        args=arguments,
        env={JOB: msgspec.json.encode(job).decode()},
        encoding_error_handler="replace",
    )
    return stdio_client(parameters, errlog=errors)  # type: ignore[arg-type]


@asynccontextmanager
async def _http(server: McpServerConfig, errors: IO[str]) -> AsyncIterator[Any]:
    import httpx2
    from mcp.client.streamable_http import streamable_http_client

    async def inspect(response: httpx2.Response) -> None:
        if response.status_code in (401, 403):
            errors.write(f"it refuses us (status {response.status_code}): put what it wants into headers\n")
        response.stream = _limited(response.stream, errors)

    timeout = httpx2.Timeout(CONNECT_TIMEOUT, read=None)  # each request has its own limit
    async with (
        httpx2.AsyncClient(
            headers=server.headers, timeout=timeout, event_hooks={"response": [inspect]}
        ) as client,
        streamable_http_client(
            server.url or "", http_client=client, max_sse_event_size=MAX_MESSAGE
        ) as streams,
    ):
        yield streams


def _limited(stream: Any, errors: IO[str]) -> Any:
    """Return a response's stream that breaks off after MAX_UNASKED bytes."""
    import httpx2

    class Limited(httpx2.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            size = 0
            async for block in stream:
                size += len(block)
                if size > MAX_UNASKED:
                    problem = f"its answer is larger than {MAX_UNASKED >> 20} MiB"
                    errors.write(problem + "\n")
                    raise httpx2.ReadError(problem)
                yield block

        async def aclose(self) -> None:
            await stream.aclose()

    return Limited()
