"""The tools of MCP servers in a conversation at the terminal: which servers, and what the user is asked."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgeinfer.cli.slash_commands import SlashCommand

if TYPE_CHECKING:
    from edgeinfer.mcp.server_config import McpConfig, McpServerConfig
    from edgeinfer.mcp.tool_calls import ToolCalls

McpFile = Annotated[
    Path | None,
    typer.Option(
        "--mcp-config",
        metavar="FILE",
        help="File of MCP servers whose tools the model may call. Default: mcp.json in the configuration folder.",
    ),
]
NoMcp = Annotated[bool, typer.Option("--no-mcp", help="Use no MCP servers.")]

SHARE = 4
"""The part of the context that tools of MCP servers may take: a quarter."""

Ask = Callable[[str, str], str]
"""Shows a question and returns one of the letters that it is given."""


@contextmanager
def open_mcp_tools(
    file: Path | None,
    ask: Ask,
    *,
    wanted: bool = True,
    project: Path | None = None,
    taken: Collection[str] = (),
) -> Iterator[ToolCalls | None]:
    """Start the servers of a file, and those of a project if the user agrees; None if there are none.

    Args:
        file: the file that the user has named; None is the user's own, if there is one.
        project: a folder that may have a file of its own.
        taken: names of other tools.
    """
    servers = _servers(file, project, ask) if wanted else []
    if not servers or not _has_sdk(required=file is not None):
        yield None
        return
    from edgeinfer.cli import terminal
    from edgeinfer.mcp.blocking_toolbox import open_toolbox
    from edgeinfer.mcp.tool_calls import ToolCalls

    terminal.show(f"(starting MCP servers: {', '.join(server.name for server in servers)})")
    with open_toolbox(servers, taken) as toolbox:
        for problem in toolbox.problems:
            terminal.say(f"({problem})")
        yield ToolCalls(toolbox, terminal.say, ask)


def _servers(file: Path | None, project: Path | None, ask: Ask) -> list[McpServerConfig]:
    from edgeinfer.cli import terminal
    from edgeinfer.mcp.project_file import project_config
    from edgeinfer.mcp.server_config import read_config, user_file
    from edgeinfer.user_folders import is_file

    configs: list[McpConfig | None] = []
    if file is not None or is_file(user_file()):
        configs.append(read_config(file or user_file()))
    if project is not None:
        configs.append(project_config(project, ask, terminal.say))
    servers: dict[str, McpServerConfig] = {}
    for config in filter(None, configs):
        for remark in config.remarks:
            terminal.say(f"({remark})")
        for server in config.servers:
            if server.prefix in servers:
                terminal.say(
                    f"({config.path}: {server.name} is not used: your own file has a server of this name)"
                )
            else:
                servers[server.prefix] = server
    return list(servers.values())


def _has_sdk(*, required: bool) -> bool:
    """Tell whether the SDK is installed, and say so if it is not. Raises EdgeinferError where it is required."""
    from edgeinfer.cli import terminal
    from edgeinfer.cli.pasteable import pasteable
    from edgeinfer.errors import EdgeinferError
    from edgeinfer.mcp.transport import check_sdk

    try:
        check_sdk()
    except EdgeinferError as e:
        if required:
            raise
        terminal.say(pasteable(f"(MCP servers are not used: {e.message}; {e.hint})"))
        return False
    return True


def ask_user(question: str, answers: str) -> str:
    """Ask at the terminal; where there is none, the answer is no."""
    import sys

    from edgeinfer.cli import terminal
    from edgeinfer.cli.code_screen import TerminalScreen

    if sys.stdin.isatty() and sys.stderr.isatty():
        return TerminalScreen().ask(question, answers)
    terminal.say(f"({question} Nobody can be asked, so the answer is no)")
    return "n"


def list_command(tools: ToolCalls | None) -> SlashCommand:
    """The command of a conversation that lists the tools."""
    return SlashCommand(("/mcp",), "", "list the tools of MCP servers", lambda _: _list(tools))


def _list(tools: ToolCalls | None) -> None:
    from edgeinfer.cli import terminal

    if tools and tools.tools:
        terminal.say("\n".join(f"{tool.name:30} {tool.summary}" for tool in tools.tools.values()))
    else:
        terminal.say("(no tools; mcp.json in the configuration folder names MCP servers)")
