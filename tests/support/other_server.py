"""Another program's server of OpenAI's API: it streams in chunks that end anywhere, and refuses what it does not know."""

from __future__ import annotations

import json
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PIECES = ("One", " two", " three", " four")


class OtherServer(ThreadingHTTPServer):
    """Says `pieces`, whatever it is asked.

    Attributes:
        refused: fields of requests that it answers with 400.
        counts: it sends usage.
        requests: what it was asked.
        answer: status, type and body of every answer in place of a stream.
    """

    daemon_threads = True

    def __init__(self, refused: Collection[str] = (), *, counts: bool = True) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.pieces: tuple[str, ...] = PIECES
        self.refused = refused
        self.counts = counts
        self.requests: list[dict[str, Any]] = []
        self.answer: tuple[int, str, str] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: OtherServer
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._reply(404, "application/json", '{"detail": "Not Found"}')

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append(asked)
        if self.server.answer:
            self._reply(*self.server.answer)
        elif unknown := next((name for name in asked if name in self.server.refused), None):
            error = {"error": {"message": f"unknown parameter: {unknown}"}}
            self._reply(400, "application/json", json.dumps(error))
        else:
            self._stream()

    def _reply(self, status: int, kind: str, body: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body.encode())))
        self.end_headers()
        self.wfile.write(body.encode())

    def _stream(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for piece in self.server.pieces:
            self._event({"model": "other", "choices": [{"index": 0, "delta": {"content": piece}}]})
        self._event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        if self.server.counts:
            self._event({"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 9}})
        self._chunk(b"data: [DONE]\n\n")
        self.wfile.write(b"0\r\n\r\n")

    def _event(self, event: dict[str, Any]) -> None:
        data = b"data: " + json.dumps(event).encode() + b"\n\n"
        self._chunk(data[:20])
        self._chunk(data[20:])

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")


@contextmanager
def other_server(refused: Collection[str] = (), *, counts: bool = True) -> Iterator[OtherServer]:
    with OtherServer(refused, counts=counts) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
