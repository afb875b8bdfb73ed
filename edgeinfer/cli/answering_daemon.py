"""The daemon that answers a command: the one that runs here, or one that is started for it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgeinfer.cli import terminal
from edgeinfer.cli.private_daemon import private_daemon
from edgeinfer.client.http import Target, connect, is_ready
from edgeinfer.errors import NotReady


@contextmanager
def open_daemon(target: Target, model: str | None, purpose: str) -> Iterator[tuple[Target, str | None]]:
    """The daemon to ask and the model's name there; starts a private one if none runs, or for a file."""
    is_file = model is not None and Path(model).is_file()
    if target.explicit or (not is_file and is_running(target)):
        yield target, model
        return
    terminal.show(f"(starting a daemon for {purpose})")
    with private_daemon(model, target.load_timeout) as private:
        yield private, None


def is_running(target: Target) -> bool:
    """Tell whether a daemon is there; waits while it loads its model."""
    deadline = time.monotonic() + target.load_timeout
    with connect(target) as client:
        try:
            if is_ready(client, target):
                return True
            terminal.show("(waiting for the daemon to load its model)")
            while time.monotonic() < deadline and not is_ready(client, target):
                time.sleep(0.5)
        except NotReady:
            return False
    return True  # and if it is still not ready, its own answer says so best
