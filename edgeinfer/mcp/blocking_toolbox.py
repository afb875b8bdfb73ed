"""A toolbox for programs that are not asynchronous."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from anyio.from_thread import BlockingPortal, start_blocking_portal

from edgeinfer.grammar.compiler import GrammarCompiler
from edgeinfer.mcp.result import McpResult
from edgeinfer.mcp.server_config import McpServerConfig
from edgeinfer.mcp.tool import McpTool
from edgeinfer.mcp.toolbox import Toolbox
from edgeinfer.mcp.transport import check_sdk


class BlockingToolbox:
    """Calls tools from a thread that waits for them. Ctrl-C cancels a call."""

    def __init__(self, portal: BlockingPortal, toolbox: Toolbox) -> None:
        self._portal = portal
        self._toolbox = toolbox

    @property
    def tools(self) -> dict[str, McpTool]:
        return self._toolbox.tools

    @property
    def problems(self) -> list[str]:
        """What cannot be used, in lines."""
        remarks = [remark for lines in self._toolbox.remarks.values() for remark in lines]
        return [*self._toolbox.problems.values(), *remarks]

    @property
    def versions(self) -> dict[str, str]:
        """The version of the protocol that each server speaks which is connected."""
        return self._toolbox.versions

    def call(self, name: str, arguments: dict[str, Any]) -> McpResult:
        """Call a tool. Raises EdgeinferError if its server does not answer."""
        call = self._portal.start_task_soon(self._toolbox.call, name, arguments)
        try:
            result: McpResult = call.result()
        finally:
            call.cancel()
        return result


@contextmanager
def open_toolbox(
    servers: Sequence[McpServerConfig], taken: Collection[str] = ()
) -> Iterator[BlockingToolbox]:
    """Start the servers, and end them with the block. Raises EdgeinferError if the SDK is not installed."""
    check_sdk()
    with start_blocking_portal() as portal:
        toolbox = portal.call(_new, servers, taken)
        try:
            opening = portal.start_task_soon(toolbox.open)
            try:
                opening.result()
            finally:
                opening.cancel()
            yield BlockingToolbox(portal, toolbox)
        finally:
            portal.call(_close, toolbox)


async def _new(servers: Sequence[McpServerConfig], taken: Collection[str]) -> Toolbox:
    return Toolbox(servers, GrammarCompiler(), taken)


async def _close(toolbox: Toolbox) -> None:
    await toolbox.close()
    await toolbox.compiler.close()
