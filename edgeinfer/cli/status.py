"""`edgeinfer status`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from edgeinfer.cli.command import Command
from edgeinfer.cli.common_options import ApiKey, Url
from edgeinfer.cli.option_values import number

ANSWERING = ("ready", "unloaded")
"""States in which a prompt is answered; an unloaded model is loaded when it is asked for."""

WATCH, INTERVAL = "--watch", "2"


class StatusCommand(Command):
    """Takes --watch with and without a number of seconds."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        for place, argument in enumerate(args):
            if argument == WATCH and (place + 1 == len(args) or args[place + 1].startswith("-")):
                args[place] = f"{WATCH}={INTERVAL}"
        return super().parse_args(ctx, args)


def status(
    json: Annotated[bool, typer.Option("--json", help="Print the whole report as JSON.")] = False,
    watch: Annotated[
        float | None,
        typer.Option(
            WATCH,
            **number(float, ge=0.1, le=86400) | {"metavar": "[SECONDS]", "min": None, "max": None},
            help="Show it again every 2 seconds, or as many as you say, until Ctrl-C.",
        ),
    ] = None,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Show what the daemon is doing, and why it runs as it does.

    The exit code is 0 if the default model answers and 1 if it does not. With --watch it is 0 once you have seen
    enough; in a pipe, it prints a line for each look, which is JSON with --json.

    Examples:
      edgeinfer status
      edgeinfer status --watch
      edgeinfer status --watch 60 --json >>status.jsonl
    """
    from edgeinfer.cli import terminal
    from edgeinfer.cli.status_report import lines
    from edgeinfer.client.http import connect, get_json, resolve_target
    from edgeinfer.client.status import parse_status

    target = resolve_target(url, api_key)
    if watch is not None:
        from edgeinfer.cli.status_watch import watch_status

        watch_status(target, watch, as_json=json)
        return
    with connect(target) as client:
        body = get_json(client, target, "/status")
    reply = parse_status(body, target)
    if json:
        terminal.write_json(body)
    else:
        terminal.write("".join(line + "\n" for line in lines(reply)))
    if reply.state not in ANSWERING:
        raise typer.Exit(1)
