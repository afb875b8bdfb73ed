"""A hub on loopback that fails as it is told: its own, or in front of another, such as the mirror."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx

COMMIT = "a1" * 20
REPO = "someone/Nano-GGUF"


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes = b""


@dataclass
class Request:
    """What came in. `sent`: bytes of body that went out, as far as the socket took them."""

    method: str
    path: str
    headers: dict[str, str]
    sent: int = 0

    @property
    def is_file(self) -> bool:
        return "/resolve/" in self.path


Fault = Callable[["Handler", Answer], None]
"""Sends an answer in its own way, or raises ConnectionAborted to end the connection."""


class ConnectionAborted(Exception):
    pass


@dataclass
class FaultyHub:
    """Serves `files` of one repository. `faults` are used up by requests for files, one each, in order.

    With `upstream` the answers are those of another hub.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    upstream: str | None = None
    key: str | None = None
    commit: str = COMMIT
    faults: list[Fault] = field(default_factory=list)
    first_answers: list[Answer] = field(default_factory=list)
    """Given to whatever is asked first, files or not."""
    requests: list[Request] = field(default_factory=list)
    announced: dict[str, str] = field(default_factory=dict)
    """File -> a sha256 that is announced in place of its own."""
    url: str = ""

    @property
    def file_requests(self) -> list[Request]:
        return [r for r in self.requests if r.is_file]

    @property
    def sent(self) -> int:
        """Bytes of files."""
        return sum(r.sent for r in self.file_requests)

    def sha256(self, file: str) -> str:
        return self.announced.get(file) or hashlib.sha256(self.files[file]).hexdigest()

    def answer(self, request: Request) -> Answer:
        if self.first_answers:
            return self.first_answers.pop(0)
        if self.upstream:
            return self._forwarded(request)
        if self.key and request.headers.get("authorization") != f"Bearer {self.key}":
            return refusal(401, "RepoNotFound")
        if request.path.startswith("/api/models/"):
            return self._info(request.path)
        return self._file(request)

    def _info(self, path: str) -> Answer:
        match = re.fullmatch(rf"/api/models/{REPO}/revision/(\w+)\?blobs=true", path)
        if not match:
            return refusal(404, "RepoNotFound")
        if match[1] not in ("main", self.commit):
            return refusal(404, "RevisionNotFound")
        siblings: list[dict[str, Any]] = [
            {
                "rfilename": name,
                "size": len(content),
                "blobId": "b" * 40,
                "lfs": {"sha256": self.sha256(name), "size": len(content), "pointerSize": 134},
            }
            for name, content in self.files.items()
        ]
        body = json.dumps({"id": REPO, "sha": self.commit, "siblings": siblings}).encode()
        return Answer(200, {"Content-Type": "application/json"}, body)

    def _file(self, request: Request) -> Answer:
        match = re.fullmatch(rf"/{REPO}/resolve/{self.commit}/(.+)", request.path)
        if not match or match[1] not in self.files:
            return refusal(404, "EntryNotFound")
        return ranged(self.files[match[1]], request.headers.get("range"))

    def _forwarded(self, request: Request) -> Answer:
        assert self.upstream
        headers = {k: v for k, v in request.headers.items() if k != "host"}
        response = httpx.request(request.method, self.upstream + request.path, headers=headers)
        headers_to_send = {
            k: v for k, v in response.headers.items() if k not in ("content-length", "connection", "date")
        }
        return Answer(response.status_code, headers_to_send, response.content)


def ranged(content: bytes, byte_range: str | None) -> Answer:
    headers = {"Content-Type": "application/octet-stream", "Accept-Ranges": "bytes"}
    if not byte_range:
        return Answer(200, headers, content)
    match = re.fullmatch(r"bytes=(\d+)-(\d*)", byte_range)
    assert match, byte_range
    start, end = int(match[1]), int(match[2] or len(content) - 1)
    if start >= len(content):
        return Answer(416, {"Content-Range": f"bytes */{len(content)}"})
    end = min(end, len(content) - 1)
    headers["Content-Range"] = f"bytes {start}-{end}/{len(content)}"
    return Answer(206, headers, content[start : end + 1])


def refusal(status: int, code: str) -> Answer:
    return Answer(status, {"X-Error-Code": code, "X-Error-Message": "so it is"}, b"{}")


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: FaultyHub
    entry: Request

    def do_GET(self) -> None:
        self.entry = Request(self.command, self.path, {k.lower(): v for k, v in self.headers.items()})
        self.hub.requests.append(self.entry)
        answer = self.hub.answer(self.entry)
        fault = self.hub.faults.pop(0) if self.entry.is_file and self.hub.faults else None
        try:
            if fault:
                fault(self, answer)
            else:
                self.send(answer)
        except (ConnectionAborted, ConnectionError):
            self.close_connection = True
            with contextlib.suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)

    do_HEAD = do_GET

    def send(self, answer: Answer) -> None:
        self.head(answer)
        self.body(answer.body)

    def head(self, answer: Answer, length: int | None = -1) -> None:
        """`length`: what Content-Length says; None leaves it out, and the connection's end is the body's."""
        self.send_response_only(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if length is not None:
            self.send_header("Content-Length", str(len(answer.body) if length == -1 else length))
        else:
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()

    def body(self, content: bytes) -> None:
        if self.command == "HEAD":
            return
        for at in range(0, len(content), 1 << 16):
            self.wfile.write(content[at : at + (1 << 16)])
            self.entry.sent += len(content[at : at + (1 << 16)])

    def log_message(self, format: str, *args: object) -> None:
        pass


def cut(share: float) -> Fault:
    """The connection breaks after that share of the answer."""

    def fault(handler: Handler, answer: Answer) -> None:
        handler.head(answer)
        handler.body(answer.body[: int(len(answer.body) * share)])
        raise ConnectionAborted

    return fault


def status(code: int, **headers: str) -> Fault:
    def fault(handler: Handler, answer: Answer) -> None:
        handler.send(Answer(code, {k.replace("_", "-"): v for k, v in headers.items()}, b"no"))

    return fault


def stall(share: float, until: threading.Event) -> Fault:
    """Nothing more comes after that share, and the connection stays open until `until` is set."""

    def fault(handler: Handler, answer: Answer) -> None:
        handler.head(answer)
        sent = int(len(answer.body) * share)
        handler.body(answer.body[:sent])
        until.wait(30)
        handler.body(answer.body[sent:])

    return fault


def trickle(pieces: int, seconds: float) -> Fault:
    """The answer comes in so many pieces, with as many seconds before each."""

    def fault(handler: Handler, answer: Answer) -> None:
        handler.head(answer)
        step = -(-len(answer.body) // pieces)
        for at in range(0, len(answer.body), step):
            time.sleep(seconds)
            handler.body(answer.body[at : at + step])

    return fault


def wrong_byte(at: int) -> Fault:
    def fault(handler: Handler, answer: Answer) -> None:
        changed = bytearray(answer.body)
        changed[at % len(changed)] ^= 1
        handler.send(Answer(answer.status, answer.headers, bytes(changed)))

    return fault


def truncated(share: float, *, announced: bool) -> Fault:
    """A shorter file, and the length says so, or there is none."""

    def fault(handler: Handler, answer: Answer) -> None:
        body = answer.body[: int(len(answer.body) * share)]
        handler.head(Answer(answer.status, answer.headers, body), -1 if announced else None)
        handler.body(body)

    return fault


def redirect(to: str) -> Fault:
    def fault(handler: Handler, answer: Answer) -> None:
        handler.send(Answer(302, {"Location": to + handler.path}))

    return fault


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients hang up."""


@contextlib.contextmanager
def serving(hub: FaultyHub, host: str = "127.0.0.1") -> Iterator[FaultyHub]:
    """The hub, at its `url`."""

    class Bound(Handler):
        pass

    Bound.hub = hub
    server = Server((host, 0), Bound)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    hub.url = f"http://{host}:{server.server_address[1]}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def wait_for(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)
