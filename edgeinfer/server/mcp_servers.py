"""The MCP servers that the administrator names for the page: the daemon speaks with them, and starts no program."""

from __future__ import annotations

import asyncio
import importlib.util
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from edgeinfer.errors import EdgeinferError, NotFound, SettingsError
from edgeinfer.grammar.compiler import GrammarCompiler
from edgeinfer.mcp.result import McpResult
from edgeinfer.mcp.server_config import McpServerConfig, read_config
from edgeinfer.mcp.toolbox import Toolbox
from edgeinfer.mcp.transport import EXTRA_HINT
from edgeinfer.server.auth.key_file import warn_of_readers
from edgeinfer.settings import Settings

SETTING = "mcp_servers"

logger = logging.getLogger(__name__)


class ListedServer(msgspec.Struct, frozen=True):
    """A server, as the page sees it.

    Attributes:
        problem: why it cannot be used; null if it can.
        left_out: the tools that a model is not offered, and why.
        tools: those that it is offered, in OpenAI's form.
    """

    name: str
    problem: str | None
    left_out: Sequence[str]
    tools: Sequence[dict[str, Any]]


class McpServers:
    """Connects to the servers in the file of `mcp_servers` once somebody asks for their tools."""

    def __init__(self, settings: Settings, compiler: GrammarCompiler) -> None:
        """Raises SettingsError."""
        self._servers = _configured(settings)
        self._toolbox = Toolbox(self._servers, compiler)
        self._lock = asyncio.Lock()

    async def listed(self) -> list[ListedServer]:
        """The servers with their tools; connects to those that are not connected."""
        async with self._lock:
            await self._toolbox.open()
        box = self._toolbox
        return [
            ListedServer(
                server.name,
                box.problems.get(server.name),
                box.remarks.get(server.name, ()),
                [tool.definition for tool in box.tools.values() if tool.server == server.name],
            )
            for server in self._servers
        ]

    async def call(self, name: str, arguments: dict[str, Any]) -> McpResult:
        """Call a tool; a server that does not answer is an error that the model is told.

        Raises:
            NotFound: there is no such tool.
        """
        if self._servers and not self._toolbox.tools:
            await self.listed()
        if name not in self._toolbox.tools:
            raise NotFound(f"there is no tool {name[:200]!r}", param="name", hint="GET /mcp/tools lists them")
        try:
            return await self._toolbox.call(name, arguments)
        except EdgeinferError as e:
            return McpResult(e.message, is_error=True)

    async def close(self) -> None:
        """End all connections."""
        await self._toolbox.close()


def _configured(settings: Settings) -> Sequence[McpServerConfig]:
    if not settings.mcp_servers:
        return ()
    path = Path(settings.mcp_servers)
    try:
        config = read_config(path)
    except SettingsError as e:
        raise SettingsError(f"{SETTING}: {e.message}", param=SETTING, hint=e.hint) from e
    warn_of_readers(path)
    for remark in config.remarks:
        logger.warning("%s: %s", SETTING, remark)
    for server in config.servers:
        if server.transport != "http":
            raise SettingsError(
                f"{SETTING}: {path}: {server.name} has a command, and the daemon starts no programs",
                param=SETTING,
                hint="run the program as a service that speaks streamable HTTP, and name its url",
            )
    if config.servers and importlib.util.find_spec("mcp") is None:
        raise SettingsError(f"{SETTING}: this needs the extra mcp", param=SETTING, hint=EXTRA_HINT)
    return config.servers
