"""`edgeinfer reload`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgeinfer.cli.common_options import ApiKey

if TYPE_CHECKING:
    from edgeinfer.client.http import Target

POLL_INTERVAL = 0.2
"""Seconds between two looks at a running reload."""


def reload(
    json: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")] = False,
    url: Annotated[
        str | None,
        typer.Option(help="Address of another daemon on this machine. Default: the one in the settings."),
    ] = None,
    api_key: ApiKey = None,
) -> None:
    """Apply changed settings to the running daemon.

    Requests are not interrupted. If the model or the way it is loaded has changed, the new one is loaded
    beside the old one and must pass its self-test. New requests then go to it, and requests in progress
    finish on the old one. If loading fails, the old model stays in use and the exit code is 1. If there
    is not enough memory for both, requests wait while the old model is replaced.

    Examples:
      edgeinfer reload
      sudo edgeinfer reload     if the daemon is the system service
    """
    import os

    from edgeinfer.client.http import own_daemon, resolve_target

    # systemd names the process to reload. By now the settings may have another port.
    main = int(os.environ.get("MAINPID", "0"))
    target = (own_daemon(main) if main and not url else None) or resolve_target(url, api_key)
    reload_daemon(target, json=json)


def reload_daemon(target: Target, *, json: bool = False) -> None:
    """Reload, and wait for the outcome.

    Raises:
        EdgeinferError: the daemon cannot be reached, or its reload failed.
    """
    from edgeinfer.cli import terminal
    from edgeinfer.errors import EdgeinferError

    outcome = _outcome(target)
    if json:
        terminal.write_json(outcome)
    for warning in outcome.get("warnings", ()):
        terminal.say(f"warning: {warning}")
    if outcome.get("state") != "done":
        raise EdgeinferError(
            f"the reload failed and changed nothing: {outcome.get('message')}", hint=outcome.get("hint")
        )
    if not json:
        terminal.write(f"{outcome.get('message')}\n")


def _outcome(target: Target) -> dict[str, Any]:
    import os
    import signal
    import time

    from edgeinfer.client.http import connect, get_json
    from edgeinfer.errors import EdgeinferError

    with connect(target) as client:
        status = get_json(client, target, "/status")
        number = _reload(status).get("number", 0)
        pid = _daemon_pid(target, status)
        try:
            os.kill(pid, signal.SIGHUP)
        except OSError as e:
            raise EdgeinferError(
                f"cannot send a signal to the daemon (pid {pid}): {e.strerror}",
                hint="sudo edgeinfer reload, or systemctl reload edgeinfer",
            ) from e
        while (outcome := _reload(status)).get("number", 0) <= number or outcome.get("state") == "running":
            time.sleep(POLL_INTERVAL)
            status = get_json(client, target, "/status")
    return outcome


def _reload(status: Any) -> dict[str, Any]:
    reload = status.get("reload") if isinstance(status, dict) else None
    return reload if isinstance(reload, dict) else {}


def _daemon_pid(target: Target, status: Any) -> int:
    """Return the daemon's process id.

    Raises:
        EdgeinferError: the daemon runs elsewhere, so this number is another process's here.
    """
    import contextlib
    import os

    import psutil

    from edgeinfer.daemon_record import read_records
    from edgeinfer.errors import EdgeinferError

    pid = status.get("pid") if isinstance(status, dict) else None
    # In systemd's sandbox other processes are hidden. Root may signal anything, so a record is not enough for it.
    if os.geteuid() and isinstance(pid, int) and pid in [record.pid for record in read_records()]:
        return pid
    words: list[str] = []
    with contextlib.suppress(psutil.Error):
        words = psutil.Process(pid).cmdline() if isinstance(pid, int) and pid > 0 else []
    if not isinstance(pid, int) or not any("edgeinfer" in word for word in words):
        raise EdgeinferError(
            f"the daemon at {target} is not a process on this machine, or this user cannot see it",
            hint="reload it where it runs: edgeinfer reload there, or docker kill --signal=HUP CONTAINER",
        )
    return pid
