"""A client may end its side after its request, as `nc -N` does, and still gets its answer."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator

import pytest

from edgeinfer.server.http.half_close import HalfClosedConnection
from tests.support.server import Scripted, Served, eventually, serving

CHAT = {"messages": [{"role": "user", "content": "Hi"}]}


@pytest.fixture
def engine() -> Scripted:
    return Scripted("Hel", "lo")


@pytest.fixture
def served(engine: Scripted) -> Iterator[Served]:
    with serving(engine) as found:
        yield found


def request(method: str, path: str, body: object = None, version: str = "1.1") -> bytes:
    data = b"" if body is None else json.dumps(body).encode()
    head = f"{method} {path} HTTP/{version}\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data


def ask(served: Served, *parts: bytes) -> bytes:
    """Send it and end this side; -> all that comes until the daemon ends its own."""
    with socket.create_connection(("127.0.0.1", served.port), timeout=20) as sock:
        for part in parts:
            sock.sendall(part)
        sock.shutdown(socket.SHUT_WR)
        found = b""
        while data := sock.recv(65536):
            found += data
    return found


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("stream", [False, True])
def test_a_half_closed_client_gets_its_answer(
    served: Served, engine: Scripted, version: str, stream: bool
) -> None:
    """However long it takes; whole or as a stream, and then the connection ends."""
    engine.hold_first, engine.hold_each = 0.3, 0.1
    found = ask(served, request("POST", "/v1/chat/completions", {**CHAT, "stream": stream}, version))
    assert b" 200 OK\r\n" in found
    assert (b"[DONE]" if stream else b'"Hello"') in found
    assert (b" 100 Continue\r\n" in found) == (version == "1.1")


def test_all_that_was_asked_before_the_end_is_answered(served: Served, engine: Scripted) -> None:
    """Also requests that wait behind another one."""
    engine.hold_first = 0.2
    chat = request("POST", "/v1/chat/completions", CHAT)
    found = ask(served, chat + chat + request("GET", "/health"))
    assert found.count(b" 200 OK\r\n") == 3
    assert found.rstrip().endswith(b'{"status":"ok"}')


@pytest.mark.parametrize("sent", [b"", b"GET /heal", request("POST", "/v1/chat/completions", CHAT)[:-5]])
def test_a_request_that_never_ends_is_not_waited_for(served: Served, sent: bytes) -> None:
    """Its rest will not come."""
    assert b"200" not in ask(served, sent)
    assert served.client.get("/health").status_code == 200


def test_a_client_that_closed_is_gone_all_the_same(
    served: Served, engine: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told from one that reads on, and its work is cancelled."""
    monkeypatch.setattr(HalfClosedConnection, "PROBE_INTERVAL", 0.1)
    engine.hold_first = 60
    with socket.create_connection(("127.0.0.1", served.port)) as sock:
        sock.sendall(request("POST", "/v1/chat/completions", CHAT))
        sock.shutdown(socket.SHUT_WR)
        assert eventually(lambda: engine.running)
        sock.settimeout(10)
        assert sock.recv(100).startswith(b"HTTP/1.1 100 Continue")
        assert engine.running == 1
    assert eventually(lambda: not engine.running)
