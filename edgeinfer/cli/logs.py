"""`edgeinfer logs`."""

from __future__ import annotations

from typing import Annotated

import typer

from edgeinfer.cli.service import User


def logs(
    lines: Annotated[int, typer.Option("--lines", "-n", help="How many of the last lines.", min=0)] = 50,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes.")] = False,
    user: User = None,
) -> None:
    """Show the log of the service: systemd's journal, or the file that its minder writes.

    Examples:
      edgeinfer logs -f
      edgeinfer logs -n 1000 | grep ERROR
    """
    import os

    from edgeinfer.cli.service import chosen
    from edgeinfer.errors import ServiceFailed

    command = chosen(user).log(lines, follow=follow)
    try:
        os.execvp(command[0], command)
    except OSError as e:
        raise ServiceFailed(f"cannot run {command[0]}: {e.strerror}") from e
