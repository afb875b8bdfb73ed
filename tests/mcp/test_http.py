"""Hostile servers over HTTP."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from edgeinfer.mcp.blocking_toolbox import open_toolbox
from edgeinfer.mcp.server_config import read_config
from tests.support.mcp_servers import config_file

NOTE = b'data: {"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": "%s"}}\n\n'


class HostileServer(ThreadingHTTPServer):
    """Answers by the path of a request, and keeps the headers of those to /taken."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.taken: list[str | None] = []
        self.other: HostileServer | None = None
        self.released = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: object, client_address: object) -> None: ...


class Handler(BaseHTTPRequestHandler):
    server: HostileServer

    def log_message(self, format: str, *args: object) -> None: ...

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        match self.path:
            case "/taken":
                self.server.taken.append(self.headers["Authorization"])
                self.begin(500)
            case "/elsewhere":
                assert self.server.other
                self.begin(307, Location=f"{self.server.other.url}/taken")
            case "/login":
                self.begin(401, **{"WWW-Authenticate": "Bearer"})
            case "/endless":
                self.begin(200, **{"Content-Type": "application/json"})
                self.pour(b'"' + b"x" * 65_535)
            case "/events":
                self.begin(200, **{"Content-Type": "text/event-stream"})
                self.pour(NOTE % (b"x" * 50_000))
            case "/slow":
                self.server.released.wait(60)

    def begin(self, status: int, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if status != 200:
            self.send_header("Content-Length", "0")
        self.end_headers()

    def pour(self, block: bytes) -> None:
        """Write without an end, until nobody reads any more."""
        with suppress(OSError):
            while True:
                self.wfile.write(block)


@contextmanager
def hostile() -> Iterator[HostileServer]:
    server = HostileServer()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.released.set()
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("endless", "its answer is larger than 16 MiB"),
        ("events", "its answer is larger than 16 MiB"),
        ("slow", "has not answered within 2 s"),
        ("login", "it refuses us (status 401): put what it wants into headers"),
        ("elsewhere", "/taken not followed"),
    ],
)
def test_a_hostile_server_is_refused_with_a_clear_line(tmp_path: Path, path: str, problem: str) -> None:
    """Its answers are limited, and what it redirects to gets no header of its user's."""
    limit = 2000 if path == "slow" else 20_000
    with hostile() as server, hostile() as other:
        server.other = other
        entry = {"url": f"{server.url}/{path}", "headers": {"Authorization": "secret"}, "timeout_ms": limit}
        with open_toolbox(read_config(config_file(tmp_path / "mcp.json", bad=entry)).servers) as toolbox:
            (line,) = toolbox.problems
        assert line.startswith("MCP server bad: ")
        assert problem in line
        assert other.taken == []
