"""A real Redis that asks for a password."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path

from tests.support.cluster import until
from tests.support.debian_programs import find_program, libraries

PASSWORD = "the-password-of-redis-in-tests"


class Redis:
    """A server that runs until it is closed.

    Attributes:
        address: with its port.
        options: those of `edgeinfer cluster up`.
    """

    def __init__(self, folder: Path, port: int) -> None:
        self.address = f"127.0.0.1:{port}"
        self._port = port
        password_file = folder / "password"
        password_file.write_text(f"{PASSWORD}\n")
        self.options = (f"--redis={self.address}", f"--redis-password-file={password_file}")
        self._config = folder / "redis.conf"
        self._config.write_text(
            f'port {port}\nbind 127.0.0.1\nrequirepass {PASSWORD}\ndir {folder}\nsave ""\nappendonly yes\n'
        )
        self.start()

    def start(self) -> None:
        """Start, again with the data that it had if it was closed before."""
        command = [find_program("redis-server"), self._config]
        self._process = subprocess.Popen(command, env=libraries("redis-server"), stdout=subprocess.DEVNULL)
        until(self._listens, 30)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()

    def _listens(self) -> bool:
        with socket.socket() as sock:
            return sock.connect_ex(("127.0.0.1", self._port)) == 0
