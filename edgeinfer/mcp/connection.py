"""One server: connected, asked for its tools, called, ended."""

from __future__ import annotations

import asyncio
import tempfile
from typing import IO, TYPE_CHECKING, Any

import anyio

from edgeinfer import __version__
from edgeinfer.errors import EdgeinferError
from edgeinfer.mcp.limits import CALL_TIMEOUT, MAX_PAGES, MAX_TOOLS, START_TIMEOUT
from edgeinfer.mcp.server_config import McpServerConfig, expanded
from edgeinfer.mcp.transport import check_sdk, open_transport

if TYPE_CHECKING:
    from mcp.client.client import Client
    from mcp_types import CallToolResult, Tool


class McpConnection:
    """A connection to one server, in the newest version of the protocol that it speaks.

    Its tools are those that it has listed at the beginning: what it changes afterwards counts for nothing.
    """

    def __init__(self, server: McpServerConfig) -> None:
        self.server = server
        self.tools: list[Tool] = []
        self._client: Client | None = None
        self._life: asyncio.Task[None] | None = None
        self._scope: anyio.CancelScope | None = None
        self._end_reason = ""

    @property
    def is_open(self) -> bool:
        return self._client is not None

    @property
    def version(self) -> str:
        """The version of the protocol, such as 2026-07-28."""
        return self._client.protocol_version if self._client else ""

    async def open(self) -> None:
        """Connect, and read the list of tools. Raises EdgeinferError, with nothing left running."""
        check_sdk()
        await self.close()
        limit = self.server.timeout_ms / 1000 if self.server.timeout_ms else START_TIMEOUT
        scope = self._scope = anyio.CancelScope()
        connected: asyncio.Future[Client] = asyncio.get_running_loop().create_future()
        self._life = asyncio.create_task(self._live(connected, scope))
        try:
            self._client, self.tools = await asyncio.wait_for(self._begin(connected), limit)
        except BaseException as e:
            await self.close()
            if isinstance(e, asyncio.TimeoutError):
                raise self._error(f"it has not answered within {limit:g} s") from None
            if isinstance(e, Exception):
                raise self._error(self._words(e)) from e
            raise

    async def call(self, tool: str, arguments: dict[str, Any]) -> CallToolResult:
        """Call a tool. Raises EdgeinferError if there is no result; cancelling this cancels the call."""
        from mcp_types import CallToolRequest, CallToolRequestParams
        from mcp_types import CallToolResult as Result

        if self._client is None and self.server.transport == "http":
            await self.open()
        if self._client is None:
            raise self._error(self._end_reason or "it has ended")
        request = CallToolRequest(params=CallToolRequestParams(name=tool, arguments=arguments))
        limit = self.server.timeout_ms / 1000 if self.server.timeout_ms else CALL_TIMEOUT
        try:
            # `call_tool` would check the result against the server's own schema, which may take for ever.
            return await asyncio.wait_for(self._client.session.send_request(request, Result), limit)
        except asyncio.TimeoutError:
            raise self._error(f"the call has not ended within {limit:g} s") from None
        except Exception as e:
            if self.server.transport == "http" or not _is_answer(e):
                await self.close()  # a session over HTTP may have ended; the next call opens another
            raise self._error(self._words(e)) from e

    async def close(self) -> None:
        """End the connection, and the server's process with it."""
        self._client = None
        if self._life and self._scope:
            life, self._life = self._life, None
            self._scope.cancel()  # the task's own cancellation could interrupt what ends the process
            await asyncio.wait([life])

    async def _live(self, connected: asyncio.Future[Client], scope: anyio.CancelScope) -> None:
        """Hold the connection: the SDK wants it entered and left by one task."""
        from mcp.client.client import Client
        from mcp_types import Implementation

        with tempfile.TemporaryFile("w+", errors="replace") as errors:
            try:
                transport = open_transport(expanded(self.server), errors)
                info = Implementation(name="edgeinfer", version=__version__)
                with scope:
                    async with Client(transport, cache=None, client_info=info) as client:
                        if not connected.done():
                            connected.set_result(client)
                        await anyio.sleep_forever()
            except Exception as e:
                if not connected.done():
                    connected.set_exception(e)
            finally:
                self._end_reason = _written(errors)
                connected.cancel()

    async def _begin(self, connected: asyncio.Future[Client]) -> tuple[Client, list[Tool]]:
        client = await connected
        return client, await self._list(client)

    async def _list(self, client: Client) -> list[Tool]:
        from mcp_types import PaginatedRequestParams

        tools: list[Tool] = []
        cursor: str | None = None
        for _ in range(MAX_PAGES):
            page = await client.session.list_tools(params=PaginatedRequestParams(cursor=cursor))
            tools += page.tools
            cursor = page.next_cursor
            if len(tools) > MAX_TOOLS:
                raise EdgeinferError(f"it has more than {MAX_TOOLS} tools")
            if cursor is None:
                return tools
        raise EdgeinferError(f"its list of tools has more than {MAX_PAGES} pages")

    def _words(self, error: BaseException) -> str:
        """Say what went wrong: why the process has ended, or else the error's own words."""
        from pydantic import ValidationError

        while isinstance(nested := getattr(error, "exceptions", None), tuple) and nested:
            error = nested[0]
        if isinstance(error, EdgeinferError):
            return error.message
        if self._end_reason and (self.server.transport == "http" or not _is_answer(error)):
            return self._end_reason
        if isinstance(error, ValidationError):
            first = error.errors(include_url=False, include_input=False)[0]
            place = ".".join(map(str, first["loc"]))
            return f"its answer does not follow the protocol: {place}: {first['msg']}"
        return f"{str(error) or type(error).__name__}"[:1000]

    def _error(self, problem: str) -> EdgeinferError:
        from edgeinfer.code.visible import visible

        return EdgeinferError(f"MCP server {self.server.name}: {visible(problem)}")


def _is_answer(error: BaseException) -> bool:
    """Tell an answer, though it is an error or not valid, from a broken connection."""
    from mcp.shared.exceptions import MCPError
    from mcp_types import CONNECTION_CLOSED
    from pydantic import ValidationError

    if isinstance(error, MCPError):
        return bool(error.code != CONNECTION_CLOSED)
    return isinstance(error, ValidationError)


def _written(file: IO[str]) -> str:
    file.seek(0)
    return file.read(4000).strip()
