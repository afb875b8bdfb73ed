"""A server's tools in the form in which requests offer tools, as far as our grammars can hold a model to them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from edgeinfer.chat.tools.tool import function_tool
from edgeinfer.code.visible import visible
from edgeinfer.errors import EdgeinferError
from edgeinfer.grammar.compiler import GrammarCompiler
from edgeinfer.grammar.source import Grammar, GrammarSource
from edgeinfer.mcp.limits import MAX_DESCRIPTION, MAX_SCHEMA
from edgeinfer.mcp.server_config import McpServerConfig

if TYPE_CHECKING:
    from mcp_types import Tool


class McpTool(msgspec.Struct, frozen=True):
    """A tool of a server.

    Attributes:
        name: as models know it: SERVER_TOOL.
        server, own_name: who has it, and how it is called there.
        definition: the tool in OpenAI's form.
    """

    name: str
    server: str
    own_name: str
    definition: dict[str, Any]

    @property
    def summary(self) -> str:
        """The first line of its description."""
        lines = str(self.definition["function"]["description"]).strip().split("\n")
        return lines[0][:100]


async def usable_tools(
    server: McpServerConfig, listed: Sequence[Tool], compiler: GrammarCompiler, taken: Collection[str]
) -> tuple[list[McpTool], list[str]]:
    """Return the tools that a model can be offered, and for each other one a line that says why it cannot.

    Args:
        taken: names that other tools have.
    """
    usable: dict[str, McpTool] = {}
    remarks = []
    for tool in listed:
        name = f"{server.prefix}_{tool.name}"
        try:
            if name in taken or name in usable:
                raise EdgeinferError("another tool has this name")
            usable[name] = await _usable(server, name, tool, compiler)
        except EdgeinferError as e:
            remarks.append(f"{visible(name[:200])} is left out: {visible(e.message[:300])}")
    return list(usable.values()), remarks


async def _usable(server: McpServerConfig, name: str, listed: Tool, compiler: GrammarCompiler) -> McpTool:
    """Check and return one tool. Raises EdgeinferError."""
    schema = listed.input_schema
    if len(msgspec.json.encode(schema)) > MAX_SCHEMA:
        raise EdgeinferError(f"its schema is larger than {MAX_SCHEMA >> 10} KiB")
    about = visible(listed.description or listed.title or "")
    if len(about) > MAX_DESCRIPTION:
        about = about[: MAX_DESCRIPTION - 1] + "…"
    function = {"name": name, "description": about, "parameters": schema}
    tool = function_tool(function, where=name)
    source = GrammarSource("arguments", "json_schema", tool.parameters, "its schema")
    await compiler.compile(Grammar("start: @arguments", (source,)))
    return McpTool(name, server.name, listed.name, {"type": "function", "function": function})
