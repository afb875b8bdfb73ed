"""`edgeinfer logs`."""

from __future__ import annotations

from typing import Annotated

import typer

from edgeinfer.cli.option_values import number
from edgeinfer.cli.service import User


def logs(
    lines: Annotated[
        int,
        typer.Option("--lines", "-n", help="Number of lines to show.", **number(int, ge=0)),
    ] = 50,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Keep printing new lines.")] = False,
    user: User = None,
) -> None:
    """Show the service's log.

    This is systemd's journal, or the log file of the built-in process monitor.

    Examples:
      edgeinfer logs -f
      edgeinfer logs -n 1000 | grep ERROR
    """
    import os

    from edgeinfer.cli.service import select_manager
    from edgeinfer.errors import ServiceFailed

    command = select_manager(user).log(lines, follow=follow)
    try:
        os.execvp(command[0], command)
    except OSError as e:
        raise ServiceFailed(f"cannot run {command[0]}: {e.strerror}") from e
