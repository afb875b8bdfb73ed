"""`edgeinfer serve` with the bundled model, as a process that can be stopped, killed and started again."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import signal
import socket
import subprocess
from pathlib import Path

import httpx

from tests.support.cli import EDGEINFER, environment
from tests.support.server import eventually

START_LIMIT = 90.0


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


class NanoDaemon:
    """A daemon on a port of its own, which it keeps.

    Attributes:
        log: its standard error, of all its starts.
    """

    def __init__(self, home: Path, *options: str, **variables: str) -> None:
        """`variables`: of the environment, in addition."""
        home.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.log = home / "log"
        self._home = home
        self._options = options
        self._variables = variables
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    def start(self) -> None:
        """Start it, and wait until the model answers."""
        variables = {"EDGEINFER_MODEL": "edgeinfer-nano", **self._variables}
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*EDGEINFER, "serve", "--port", str(self.port), *self._options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**environment(self._home, **variables), "EDGEINFER_PORT": str(self.port)},
                start_new_session=True,
            )
        assert eventually(self._answers, START_LIMIT), self.log.read_text()

    def _answers(self) -> bool:
        assert self._process
        assert self._process.poll() is None, self.log.read_text()
        with contextlib.suppress(httpx.TransportError):
            return httpx.get(f"{self.url}/ready").status_code == 200
        return False

    def stop(self) -> int:
        """Stop it as a service manager does; -> the exit status."""
        assert self._process
        self._process.terminate()
        return self._process.wait(60)

    def kill(self) -> None:
        """Kill it and its workers at once."""
        if self._process and self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(30)

    def metric(self, name: str, **headers: str) -> float:
        """The sum of a metric's series, 0 if there is none."""
        text = httpx.get(f"{self.url}/metrics", headers=headers).text
        found = re.findall(rf"^edgeinfer_{name}(?:{{.*}})? (\S+)$", text, re.MULTILINE)
        return sum(map(float, found))


def make_key(home: Path, name: str = "test") -> tuple[str, Path]:
    """Make a key file with one key; -> the key and the file."""
    home.mkdir(parents=True, exist_ok=True)
    file = home / f"keys-{secrets.token_hex(4)}"
    done = subprocess.run(
        [*EDGEINFER, "key", "add", name],
        env=environment(home, EDGEINFER_API_KEY_FILE=str(file)),
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip(), file
