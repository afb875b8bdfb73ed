"""`edgeinfer status`."""

from __future__ import annotations

from typing import Annotated

import typer


def status(
    json: Annotated[bool, typer.Option("--json", help="Print all there is, for a program.")] = False,
    url: Annotated[
        str | None, typer.Option(help="Another daemon. Default: the one of this machine's settings.")
    ] = None,
    api_key: Annotated[
        str | None, typer.Option(help="Its key, if EDGEINFER_API_KEY does not hold it.")
    ] = None,
) -> None:
    """Show what the daemon is doing, and why it runs as it does.

    The exit code is 0 while the model answers and 1 if it does not.

    Examples:
      edgeinfer status
      edgeinfer status --json
    """
    import msgspec

    from edgeinfer.cli import terminal
    from edgeinfer.cli.report import Report, lines
    from edgeinfer.client.http import connect, find, get
    from edgeinfer.errors import EdgeinferError

    target = find(url, api_key)
    with connect(target) as client:
        found = get(client, target, "/status")
    try:
        report = msgspec.convert(found, Report)
    except msgspec.ValidationError as e:
        raise EdgeinferError(
            f"{target}/status: {e}", hint="is this the address of an edgeinfer daemon?"
        ) from e
    if json:
        terminal.write(msgspec.json.format(msgspec.json.encode(found)).decode() + "\n")
    else:
        terminal.write("".join(line + "\n" for line in lines(report)))
    if report.state != "ready":
        raise typer.Exit(1)
