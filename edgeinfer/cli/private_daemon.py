"""A private daemon for a `chat` that finds none running."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO

import httpx

from edgeinfer.client.http import API_KEY, Target, connect, is_ready
from edgeinfer.errors import EdgeinferError, ModelLoadFailed
from edgeinfer.ipc.module_command import module_command

LOG_TAIL = 12
"""Lines of a failed daemon's log that are shown."""

ERROR, HINT = "error: ", "hint: "
"""How `report_error` begins its lines."""

POLL_INTERVAL = 0.05
"""Seconds between two looks at a starting daemon."""


class PrivateDaemon:
    """Runs `edgeinfer serve` on a unix socket in a folder that only this user can enter.

    It has a session of its own, so that Ctrl-C reaches only us. Its stdin is a pipe from us: it stops when
    that closes, also because we were killed, and removes the folder.
    """

    def __init__(self, model: str | None, folder: str, log: IO[bytes]) -> None:
        self.model = [model] if model else []
        self.log = log
        self.uds = f"{folder}/s"
        excluded = {
            API_KEY,
            "JOURNAL_STREAM",
            "NOTIFY_SOCKET",
            "WATCHDOG_USEC",
            "WATCHDOG_PID",
            "LISTEN_FDS",
        }
        self.process = subprocess.Popen(
            module_command("edgeinfer.cli.private_serve", self.uds, *self.model),
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env={k: v for k, v in os.environ.items() if k not in excluded},
        )

    def wait_until_ready(self, timeout: float) -> Target:
        """Wait for its model; raises EdgeinferError with the end of the log if it fails."""
        target = Target("http://localhost", uds=self.uds)
        deadline = time.monotonic() + timeout
        with connect(target) as client:
            while time.monotonic() < deadline:
                if self.process.poll() is not None:
                    raise self._failure(f"exit code {self.process.returncode}")
                if self._listens() and self._is_ready(client, target):
                    return target
                time.sleep(POLL_INTERVAL)
        raise self._failure(f"no model after {timeout:g} s")

    def stop(self) -> None:
        """Stop it at once: no answer is awaited any more, so there is nothing to drain."""
        with suppress(KeyboardInterrupt, subprocess.TimeoutExpired):  # Ctrl-C here: on to the kill
            self.process.terminate()
            self.process.wait(5.0)
        if self.process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        if self.process.stdin:
            self.process.stdin.close()

    def _listens(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:  # httpx would leave a socket that cannot connect open
            return probe.connect_ex(self.uds) == 0

    def _is_ready(self, client: httpx.Client, target: Target) -> bool:
        try:
            return is_ready(client, target)
        except ModelLoadFailed as e:
            raise self._failure(e.message) from e

    def _failure(self, reason: str) -> EdgeinferError:
        self.log.seek(0)
        lines = self.log.read().decode(errors="replace").rstrip().split("\n")
        if error := _reported_error(lines):
            return error
        tail = "".join(f"\n  {line}" for line in lines[-LOG_TAIL:])
        command = shlex.join(["edgeinfer", "serve", *self.model])
        return EdgeinferError(
            f"the daemon for this chat did not start ({reason}); its log ends with:{tail}",
            hint=f"for the whole log: {command}",
        )


def _reported_error(lines: list[str]) -> EdgeinferError | None:
    """Return the error in which the log ends, if it ends in one that a command has reported."""
    hint = lines.pop().removeprefix(HINT) if lines[-1].startswith(HINT) else None
    if not lines or not lines[-1].startswith(ERROR):
        return None
    return EdgeinferError(lines[-1].removeprefix(ERROR), hint=hint)


@contextmanager
def private_daemon(model: str | None, load_timeout: float) -> Iterator[Target]:
    """Run a daemon with its model loaded for the time of the block."""
    with (
        tempfile.TemporaryDirectory(prefix="edgeinfer-", ignore_cleanup_errors=True) as folder,  # mode 0700
        tempfile.TemporaryFile() as log,
    ):
        daemon = PrivateDaemon(model, folder, log)
        try:
            yield daemon.wait_until_ready(load_timeout)
        finally:
            daemon.stop()
