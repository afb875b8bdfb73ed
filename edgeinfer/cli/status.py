"""`edgeinfer status`."""

from __future__ import annotations

from typing import Annotated

import typer

from edgeinfer.cli.common_options import ApiKey, Url

ANSWERING = ("ready", "unloaded")
"""States in which a prompt is answered; an unloaded model is loaded when it is asked for."""


def status(
    json: Annotated[bool, typer.Option("--json", help="Print the whole report as JSON.")] = False,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Show what the daemon is doing, and why it runs as it does.

    The exit code is 0 if the default model answers and 1 if it does not.

    Examples:
      edgeinfer status
      edgeinfer status --json
    """
    from edgeinfer.cli import terminal
    from edgeinfer.cli.status_report import lines
    from edgeinfer.client.http import connect, get_json, resolve_target
    from edgeinfer.client.status import parse_status

    target = resolve_target(url, api_key)
    with connect(target) as client:
        body = get_json(client, target, "/status")
    reply = parse_status(body, target)
    if json:
        terminal.write_json(body)
    else:
        terminal.write("".join(line + "\n" for line in lines(reply)))
    if reply.state not in ANSWERING:
        raise typer.Exit(1)
