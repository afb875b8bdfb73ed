"""`edgeinfer reload`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from edgeinfer.client.http import Target

LOOK_EVERY = 0.2
"""Seconds."""


def reload(
    json: Annotated[bool, typer.Option("--json", help="Print what came of it, for a program.")] = False,
    url: Annotated[
        str | None, typer.Option(help="Another daemon of this machine. Default: the one of its settings.")
    ] = None,
    api_key: Annotated[
        str | None, typer.Option(help="Its key, if EDGEINFER_API_KEY does not hold it.")
    ] = None,
) -> None:
    """Have the daemon read its settings again, while requests go on.

    Another model, or another way to load it, is loaded beside the old one and has to pass its self-test. Then new
    requests go to it, and those under way end where they are. If it fails, the old one goes on, and the exit code
    is 1. Where memory does not suffice for both, requests wait until the old one is gone.

    Examples:
      edgeinfer reload
      sudo edgeinfer reload     where the daemon is the system's service
    """
    import os
    import signal
    import time

    import msgspec

    from edgeinfer.cli import terminal
    from edgeinfer.client.http import connect, find, get
    from edgeinfer.errors import EdgeinferError

    target = find(url, api_key)
    with connect(target) as client:
        found = get(client, target, "/status")
        number = _reload(found).get("number", 0)
        pid = _daemon_pid(target, found)
        try:
            os.kill(pid, signal.SIGHUP)
        except OSError as e:
            raise EdgeinferError(
                f"the daemon (pid {pid}) cannot be told: {e.strerror}",
                hint="sudo edgeinfer reload, or systemctl reload edgeinfer",
            ) from e
        while (done := _reload(found)).get("number", 0) <= number or done.get("state") == "running":
            time.sleep(LOOK_EVERY)
            found = get(client, target, "/status")
    if json:
        terminal.write(msgspec.json.format(msgspec.json.encode(done)).decode() + "\n")
    for warning in done.get("warnings", ()):
        terminal.say(f"warning: {warning}")
    if done.get("state") != "done":
        raise EdgeinferError(
            f"the reload failed, and nothing has changed: {done.get('message')}", hint=done.get("hint")
        )
    if not json:
        terminal.write(f"{done.get('message')}\n")


def _reload(status: Any) -> dict[str, Any]:
    found = status.get("reload") if isinstance(status, dict) else None
    return found if isinstance(found, dict) else {}


def _daemon_pid(target: Target, status: Any) -> int:
    """The daemon's pid. Raises EdgeinferError where that is no daemon of this machine: whatever has this number here
    is somebody else's.
    """
    import contextlib

    import psutil

    from edgeinfer.errors import EdgeinferError

    pid = status.get("pid") if isinstance(status, dict) else None
    words: list[str] = []
    with contextlib.suppress(psutil.Error):
        words = psutil.Process(pid).cmdline() if isinstance(pid, int) and pid > 0 else []
    if not isinstance(pid, int) or not any("edgeinfer" in word for word in words):
        raise EdgeinferError(
            f"the daemon at {target} is no process of this machine that can be seen from here",
            hint="send it SIGHUP where it runs: edgeinfer reload there, or docker kill --signal=HUP CONTAINER",
        )
    return pid
