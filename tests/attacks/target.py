"""A daemon or a mirror to attack: really started, in a process of its own, with TLS or without."""

from __future__ import annotations

import contextlib
import functools
import http.client
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from tests.support.cli import EDGEINFER, environment

ATTACKER, OTHER = "attackers-key-0123456789", "another-callers-key-0123456789"
START_TIMEOUT = 60.0
CHAT = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}
CERTIFICATE = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -days 2 -subj /CN=x -nodes"


class Target(msgspec.Struct):
    """What an attack needs to know; it runs in a process of its own, to which this travels as JSON.

    Attributes:
        kind: "daemon" or "mirror".
        end: when the attack is over, in the clock of `time.monotonic`, which processes share.
    """

    kind: str
    port: int
    tls: bool
    pid: int
    log: str
    key: str = ATTACKER
    end: float = 0.0

    @property
    def health(self) -> str:
        """A path that costs next to nothing."""
        return "/health" if self.kind == "daemon" else "/api/models"

    def is_over(self) -> bool:
        return time.monotonic() >= self.end

    def connect(self, timeout: float = 20.0) -> socket.socket:
        """A connection, after its TLS handshake if there is one."""
        sock = self.connect_tcp(timeout)
        return _context().wrap_socket(sock) if self.tls else sock

    def connect_tcp(self, timeout: float = 20.0) -> socket.socket:
        """A connection before its TLS handshake."""
        return socket.create_connection(("127.0.0.1", self.port), timeout)

    def head(self, method: str, path: str, *more: str) -> bytes:
        """A request's head with the key, up to the empty line."""
        lines = [f"{method} {path} HTTP/1.1", "Host: localhost", f"Authorization: Bearer {self.key}", *more]
        return "".join(f"{line}\r\n" for line in lines).encode() + b"\r\n"

    def post_path(self) -> str:
        """A path that reads bodies."""
        return "/v1/completions" if self.kind == "daemon" else "/api/models/a/b/paths-info/main"

    def client(self, timeout: float = 60.0) -> http.client.HTTPConnection:
        if self.tls:
            return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=timeout, context=_context())
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)

    def post(self, path: str, body: object, timeout: float = 60.0) -> tuple[int, bytes]:
        """Status and body of the response to a JSON body."""
        with contextlib.closing(self.client(timeout)) as client:
            headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
            data = body if isinstance(body, bytes) else msgspec.json.encode(body)
            client.request("POST", path, data, headers)
            response = client.getresponse()
            return response.status, response.read()


@functools.cache
def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def make_certificate(folder: Path) -> tuple[Path, Path]:
    cert, key = folder / "cert.pem", folder / "key.pem"
    command = [*CERTIFICATE.split(), "-out", str(cert), "-keyout", str(key)]
    subprocess.run(command, check=True, capture_output=True)
    key.chmod(0o600)
    return cert, key


@contextmanager
def started(folder: Path, kind: str, *, tls: bool, model: str = "edgeinfer-nano") -> Iterator[Target]:
    """A daemon with two keys, or a mirror, that is ready for requests."""
    log = folder / f"{kind}.log"
    command = [*EDGEINFER, "mirror", "--port", "0"]
    if kind == "daemon":
        keys = folder / "keys"
        keys.write_text(f"{ATTACKER}\n{OTHER}\n")
        keys.chmod(0o600)
        command = [*EDGEINFER, "serve", "--port", "0", "--model", model, "--api-key-file", str(keys)]
    if tls:
        cert, key = make_certificate(folder)
        command += ["--tls-cert", str(cert), "--tls-key", str(key)]
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, env=environment(folder))
    try:
        port = _wait_for(lambda: _port(log, kind))
        target = Target(kind, port, tls, process.pid, str(log))
        _wait_for(lambda: _is_ready(target))
        assert kind == "mirror" or target.post("/v1/chat/completions", CHAT)[0] == 200  # also a warm-up
        yield target
    finally:
        process.terminate()
        process.wait(60)


def _wait_for(found: Any) -> Any:
    end = time.monotonic() + START_TIMEOUT
    while time.monotonic() < end:
        with contextlib.suppress(OSError, LookupError):
            if value := found():
                return value
        time.sleep(0.1)
    raise TimeoutError("it does not start")


def _port(log: Path, kind: str) -> int:
    before = "listening on " if kind == "daemon" else "HF_ENDPOINT="
    url = log.read_text().partition(before)[2].split()[0]
    return int(url.rpartition(":")[2])


def _is_ready(target: Target) -> bool:
    with contextlib.closing(target.client(5)) as client:
        client.request("GET", "/ready" if target.kind == "daemon" else target.health)
        return client.getresponse().status == 200
