"""The tools of several servers."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from typing import Any

from edgeinfer.errors import EdgeinferError
from edgeinfer.grammar.compiler import GrammarCompiler
from edgeinfer.mcp.connection import McpConnection
from edgeinfer.mcp.result import McpResult, result_of
from edgeinfer.mcp.server_config import McpServerConfig
from edgeinfer.mcp.tool import McpTool, usable_tools


class Toolbox:
    """Connects to servers and calls their tools.

    Attributes:
        tools: those that can be called, by the name that models know.
        problems: the servers that cannot be used, and why.
        remarks: the tools that are left out, and why.
        compiler: says which schemas can be enforced.
    """

    def __init__(
        self, servers: Sequence[McpServerConfig], compiler: GrammarCompiler, taken: Collection[str] = ()
    ) -> None:
        """`taken`: names that other tools of the program have."""
        self.tools: dict[str, McpTool] = {}
        self.problems: dict[str, str] = {}
        self.remarks: dict[str, list[str]] = {}
        self._connections = {server.name: McpConnection(server) for server in servers}
        self.compiler = compiler
        self._taken = frozenset(taken)

    async def open(self) -> None:
        """Connect to the servers that are not connected, all at once; what goes wrong is in `problems`."""
        closed = [connection for connection in self._connections.values() if not connection.is_open]
        outcomes = await asyncio.gather(*(connection.open() for connection in closed), return_exceptions=True)
        for connection, outcome in zip(closed, outcomes, strict=True):
            name = connection.server.name
            self.problems.pop(name, None)
            if isinstance(outcome, EdgeinferError):
                self.problems[name] = outcome.message
            elif isinstance(outcome, BaseException):
                raise outcome
            else:
                await self._take(connection)

    async def _take(self, connection: McpConnection) -> None:
        server = connection.server
        kept = {name: tool for name, tool in self.tools.items() if tool.server != server.name}
        tools, self.remarks[server.name] = await usable_tools(
            server, connection.tools, self.compiler, self._taken | kept.keys()
        )
        self.tools = {**kept, **{tool.name: tool for tool in tools}}

    @property
    def versions(self) -> dict[str, str]:
        """The version of the protocol that each server speaks which is connected."""
        connections = self._connections.items()
        return {name: connection.version for name, connection in connections if connection.is_open}

    async def call(self, name: str, arguments: dict[str, Any]) -> McpResult:
        """Call a tool. Raises EdgeinferError if its server cannot be reached or does not answer in time."""
        tool = self.tools[name]
        return result_of(await self._connections[tool.server].call(tool.own_name, arguments))

    async def close(self) -> None:
        """End all connections, and the processes of the servers."""
        await asyncio.gather(*(connection.close() for connection in self._connections.values()))
