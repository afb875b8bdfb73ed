"""`edgeinfer mcp`: the daemon's models for programs that speak MCP."""

from __future__ import annotations

from typing import Annotated

import typer

from edgeinfer.cli.common_options import ApiKey, Url


def mcp(
    model: Annotated[
        str | None, typer.Option(help="The model that answers if a call names none. Default: the daemon's.")
    ] = None,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Offer the daemon's models as tools to programs that speak MCP.

    Such a program, an editor or an assistant, starts this command by itself, and speaks with it on standard input and output. The daemon has to
    be running. The tools: list_models, chat, answer_json (held to a schema), complete_code, embed.

    Examples:
      claude mcp add edgeinfer -- edgeinfer mcp        add it to Claude Code
      edgeinfer mcp --url http://pi5.local:11435       models of another machine
    """
    import sys

    from edgeinfer.cli import terminal
    from edgeinfer.client.http import resolve_target
    from edgeinfer.mcp.server import serve_stdio

    target = resolve_target(url, api_key)
    terminal.say(f"edgeinfer mcp: MCP on standard input and output, with the models of {target}")
    if sys.stdin.isatty():
        terminal.say("(a program is meant to start this, not a person; Ctrl-C ends it)")
    serve_stdio(target, model)
