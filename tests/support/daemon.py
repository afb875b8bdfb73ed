"""`edgeinfer serve` as a process, for tests of the daemon's life."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.support.paths import ROOT
from tests.support.server import eventually


class Process:
    """`edgeinfer serve --model fake`, with what it wrote and what it told the service manager."""

    def __init__(self, tmp_path: Path, *arguments: str) -> None:
        self.notified = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._notify_socket = tmp_path / "notify"
        self.notified.bind(str(self._notify_socket))
        self.notified.settimeout(20)
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("EDGEINFER_", "XDG_"))}
        here = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "edgeinfer", "serve", *arguments],
            env={**clean, **here, "NOTIFY_SOCKET": str(tmp_path / "notify")},
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # a group of its own, for signals to it
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr
        self.lines.extend(self.process.stderr)  # appends as lines come

    def url(self) -> str:
        assert eventually(lambda: any("listening on" in line for line in self.lines), 20)
        (line,) = [line for line in self.lines if "listening on" in line]
        return line.removeprefix("edgeinfer: listening on ").strip()

    def notification(self) -> str:
        """The next that is no request for more time."""
        while (said := self.notified.recv(1000).decode()).startswith("EXTEND_TIMEOUT_USEC="):
            pass
        return said

    def wait_for(self, state: str) -> None:
        while self.notification() != state:
            pass

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(20)

    def end_group(self, number: int = signal.SIGTERM) -> int:
        """As supervisors do that know only of groups."""
        os.killpg(self.process.pid, number)
        return self.process.wait(20)

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait()
        self._reader.join()
        assert self.process.stderr
        self.process.stderr.close()
        self.notified.close()
        self._notify_socket.unlink()


def listens(url: str) -> bool:
    try:
        httpx.get(f"{url}/health")
    except httpx.TransportError:
        return False
    return True


@contextmanager
def edgeinfer(tmp_path: Path, *arguments: str) -> Iterator[Process]:
    process = Process(tmp_path, *arguments)
    try:
        yield process
    finally:
        process.close()


def stream(url: str, tokens: int, into: list[str], started: threading.Event) -> None:
    asked = {"prompt": "x", "max_tokens": tokens, "stream": True, "ignore_eos": True}
    with httpx.stream("POST", f"{url}/v1/completions", json=asked, timeout=30) as response:
        for text in response.iter_text():
            into.append(text)
            started.set()
