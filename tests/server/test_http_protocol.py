"""HTTP/1.1 as it comes over the wire: what is understood, what is refused, and what a connection may hold."""

from __future__ import annotations

import json
import logging
import socket
import time
from collections.abc import Iterator

import pytest

from edgeinfer.server.http import server
from tests.support.raw_http import GET, connected, envelope, post, read_all, read_until
from tests.support.server import Scripted, Served, eventually, serving

POST = b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
BODY = b'{"prompt": "x"}'
LENGTH = b"Content-Length: %d\r\n" % len(BODY)
CHUNKED = b"Transfer-Encoding: chunked\r\n"
CLOSE = b"Connection: close\r\n"


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with serving(Scripted()) as found:
        yield found


def chunks(body: bytes, size: int = 1) -> bytes:
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in [*pieces, b""])


def answer(port: int, request: bytes) -> bytes:
    """What comes until the daemon closes."""
    with connected(port) as sock:
        sock.sendall(request)
        return read_all(sock)


@pytest.mark.parametrize(
    "framing",
    [
        LENGTH + CHUNKED,
        CHUNKED + LENGTH,
        LENGTH + b"transfer-encoding: Chunked\r\n",
        LENGTH + b"Transfer-Encoding: gzip, chunked\r\n",
        LENGTH + b"Transfer-Encoding: identity\r\n",
        b"Transfer-Encoding: xchunked\r\n",
        b"Transfer-Encoding: chunked, identity\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        b"Transfer-Encoding: \x0bchunked\r\n",
        b"Transfer-Encoding : chunked\r\n",
        b"Transfer-Encoding:\r\n chunked\r\n",
        b"X: y\n" + CHUNKED,
        LENGTH + LENGTH,
        LENGTH + b"Content-Length: 0\r\n",
        b"Content-Length: 15, 15\r\n",
        b"Content-Length: +15\r\n",
        b"Content-Length: 0x0f\r\n",
        b"Content-Length: 99999999999999999999\r\n",
        b"Content-Length:\r\n",
    ],
    ids=repr,
)
def test_a_body_of_doubtful_length_is_refused_and_nothing_after_it_is_read(
    served: Served, framing: bytes
) -> None:
    """A proxy in front could take the rest for another request than we do, and let it past its checks."""
    for body in (BODY, chunks(BODY)):
        found = answer(served.port, POST + framing + b"\r\n" + body + GET)
        assert found.count(b"HTTP/1.1 ") == 1
        assert envelope(found) == (400, "invalid_value")


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
@pytest.mark.parametrize("extension", [b"", b";x=y"])
def test_a_body_in_chunks_is_put_together(served: Served, size: int, extension: bytes) -> None:
    """Of any size, in any pieces, with a trailer."""
    body = json.dumps({"prompt": "x" * 20_000, "max_tokens": 1}).encode()
    sent = chunks(body, size).replace(b"\r\n", extension + b"\r\n", 1)
    found = answer(served.port, POST + CHUNKED + CLOSE + b"\r\n" + sent[:-2] + b"X-Sum: 1\r\n\r\n")
    assert b" 200 OK" in found


def test_a_trailer_adds_nothing_to_the_head(served: Served) -> None:
    """The head has been checked; what comes later could be another Host."""
    sent = POST + CHUNKED + CLOSE + b"\r\n" + chunks(BODY)[:-2] + b"X-Request-Id: late\r\nHost: evil\r\n\r\n"
    found = answer(served.port, sent)
    assert b" 200 OK" in found
    assert b"late" not in found


@pytest.mark.parametrize(
    ("target", "host", "status"),
    [
        ("http://localhost/health", "localhost", 200),
        ("HTTP://LOCALHOST:80/health?x=y", "evil.example", 200),
        ("http://localhost", "localhost", 200),
        ("http://localhost?x", "localhost", 200),
        ("http://evil.example/health", "localhost", 403),
        ("http://localhost@evil.example/health", "localhost", 403),
        ("http://evil.example#@localhost/health", "localhost", 400),
        ("ftp://localhost/health", "localhost", 400),
        ("localhost/health", "localhost", 400),
        ("*", "localhost", 400),
        ("//localhost/health", "localhost", 404),
    ],
)
def test_a_whole_url_as_the_target_is_understood(served: Served, target: str, host: str, status: int) -> None:
    """As programs send it that take the daemon for a proxy. Its host is the one that counts."""
    found = answer(
        served.port, f"GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()
    )
    assert found.partition(b"\r\n")[0].startswith(b"HTTP/1.1 %d " % status)


@pytest.mark.parametrize(
    "request_",
    [
        b"CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: a\r\n folded\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nX : a\r\n\r\n",
        b"GET /health HTTP/1.1\nHost: localhost\n\n",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: a\rb\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: a\0b\r\n\r\n",
        b"GET /he\xe9lth HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /health\r\n\r\n",
    ],
    ids=repr,
)
def test_heads_that_others_read_differently_are_refused(served: Served, request_: bytes) -> None:
    """Folded lines, bare line ends, spaces before colons: the means of smuggling."""
    assert envelope(answer(served.port, request_)) == (400, "invalid_value")


UPGRADE = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"


def test_an_offer_of_another_protocol_is_passed_over(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    """A JDK's client makes it with each request; the answer is HTTP/1.1, to all of the request, without a word."""
    with caplog.at_level(logging.WARNING), connected(served.port) as sock:
        for request in (
            b"GET /health HTTP/1.1\r\nHost: localhost\r\n" + UPGRADE + b"\r\n",
            POST + UPGRADE + LENGTH + b"\r\n" + BODY,
            POST + LENGTH + UPGRADE + b"\r\n" + BODY,
            POST + UPGRADE + CHUNKED + b"\r\n" + chunks(BODY),
            b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        ):
            sock.sendall(request)
            assert b" 200 OK" in read_until(sock, b"}")
        sock.sendall(GET * 2)  # and the connection is as good as before
        time.sleep(0.2)
        assert read_until(sock, b'"ok"}').startswith(b"HTTP/1.1 200")
    assert caplog.text == ""


def test_an_upgrade_that_comes_byte_by_byte_is_understood(served: Served) -> None:
    """Wherever the reads break it off."""
    with connected(served.port) as sock:
        for byte in POST + CLOSE + b"Connection: Upgrade\r\nUpgrade: h2c\r\n" + LENGTH:
            sock.sendall(bytes([byte]))
        sock.sendall(b"\r\n" + BODY)
        assert b" 200 OK" in read_all(sock)


def test_three_hundred_requests_in_one_breath_are_answered_in_order(served: Served) -> None:
    """Each when the one before it has been."""
    requests = [
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: n%d\r\n\r\n" % n for n in range(300)
    ]
    last = b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: last\r\n" + CLOSE + b"\r\n"
    found = answer(served.port, b"".join(requests) + last + GET)
    ids = [
        line.partition(b": ")[2] for line in found.split(b"\r\n") if line.lower().startswith(b"x-request-id")
    ]
    assert ids == [b"n%d" % n for n in range(300)] + [b"last"]


def test_bodies_and_heads_in_one_breath_are_kept_apart(served: Served) -> None:
    """Also where a body holds what looks like the end of a head."""
    body = json.dumps({"prompt": "x"}).encode() + b"\r\n\r\n"
    one = POST + b"Content-Length: %d\r\n\r\n" % len(body) + body
    other = POST + CHUNKED + b"\r\n" + chunks(body, 5)
    found = answer(served.port, (one + GET + other) * 20 + GET[:-2] + CLOSE + b"\r\n")
    assert found.count(b"HTTP/1.1 200 OK") == 61


def test_what_is_no_http_after_a_request_comes_after_its_answer(served: Served) -> None:
    """In the order in which they were asked."""
    found = answer(served.port, GET + b"nonsense\r\n\r\n" + GET)
    assert found.count(b"HTTP/1.1 200 ") == 1
    assert found.index(b'"ok"}') < found.index(b"HTTP/1.1 400 ")
    assert found.count(b"HTTP/1.1 ") == 2


def test_what_waits_behind_a_request_is_bounded() -> None:
    """The rest stays in the client's own buffers."""
    supervisor = Scripted()
    supervisor.hold_first = 60
    with serving(supervisor) as served, connected(served.port) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        sock.sendall(post({"prompt": "x"}))
        assert eventually(lambda: supervisor.running)
        sock.settimeout(1)
        flood = GET * 400_000
        with pytest.raises(TimeoutError):
            sock.sendall(flood)
        assert served.client.get("/health").status_code == 200


def test_who_leaves_ends_its_request_whatever_waits_behind() -> None:
    """A second request in the same breath does not keep the first one running."""
    supervisor = Scripted()
    supervisor.hold_first = 60
    with serving(supervisor) as served:
        with connected(served.port) as sock:
            sock.sendall(post({"prompt": "x"}) * 2)
            assert eventually(lambda: supervisor.running)
        assert eventually(lambda: not supervisor.running)
        assert len(supervisor.requests) == 1


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: %s\r\n\r\n" % (b"x" * 15_000), 200),
        (b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: %s\r\n\r\n" % (b"x" * 17_000), 431),
        (b"GET /health HTTP/1.1\r\nHost: localhost\r\n%s: x\r\n\r\n" % (b"x" * 40_000), 431),
        (b"GET /health?%s HTTP/1.1\r\nHost: localhost\r\n\r\n" % (b"x" * 17_000), 431),
        (b"GET /health HTTP/1.1\r\nHost: localhost\r\n%s\r\n" % (b"a: b\r\n" * 9_000), 431),
        (b"\r\n" * 30_000 + GET, 431),
        (POST + CHUNKED + b"\r\n" + b"1;" + b"x" * 40_000, 431),
        (POST + CHUNKED + b"\r\n0\r\n" + b"x: y\r\n" * 9_000, 431),
        (POST + CHUNKED + b"\r\n0\r\nx: " + b"y" * 40_000, 431),
        (POST + CHUNKED + b"\r\n" + b"0" * 40_000, 431),
    ],
    ids=range(10),
)
def test_what_surrounds_bodies_is_bounded(served: Served, request_: bytes, expected: int) -> None:
    """Heads, extensions of chunks, trailers: whatever the parser gathers before it says anything."""
    with connected(served.port) as sock:
        sock.sendall(request_)
        assert read_until(sock, b"}").startswith(b"HTTP/1.1 %d " % expected)


def test_an_idle_connection_outlives_that_of_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """nginx keeps one for 60 s: if ours ended first, a request could meet its end, and its client a 502."""
    assert server.KEEP_ALIVE > 60
    monkeypatch.setattr(server, "KEEP_ALIVE", 1)
    with serving(Scripted()) as served, connected(served.port) as sock:
        for _ in range(4):
            sock.sendall(GET)
            read_until(sock, b'"ok"}')
            time.sleep(0.5)
        started = time.monotonic()
        assert read_all(sock) == b""
        assert time.monotonic() - started < 10


def test_a_client_that_asks_before_it_sends_is_told_to_go_on(served: Served) -> None:
    """As curl does with large bodies; one that is too large is refused before it comes."""
    with connected(served.port) as sock:
        sock.sendall(POST + b"Expect: 100-continue\r\n" + LENGTH + b"\r\n")
        assert read_until(sock, b"\r\n\r\n").startswith(b"HTTP/1.1 100 ")
        sock.sendall(BODY)
        assert read_until(sock, b"}").startswith(b"HTTP/1.1 200 ")
    with connected(served.port) as sock:
        sock.sendall(POST + b"Expect: 100-continue\r\nContent-Length: 999999999\r\n\r\n")
        assert read_until(sock, b"}").startswith(b"HTTP/1.1 413 ")


def test_an_old_client_gets_its_answer_and_the_end(served: Served) -> None:
    """HTTP/1.0, and HEAD without a body."""
    found = answer(served.port, b"GET /health HTTP/1.0\r\nHost: localhost\r\n\r\n")
    assert found.endswith(b'"ok"}')
    head = answer(served.port, b"HEAD /openapi.json HTTP/1.1\r\nHost: localhost\r\n" + CLOSE + b"\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert head.endswith(b"\r\n\r\n")


def test_server_stops_when_it_is_told_and_not_at_its_next_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looking often would keep a board from sleeping. Leaving `serving` waits for the server's end."""
    monkeypatch.setattr(server, "TICK", 3600.0)
    with serving(Scripted()) as served:
        assert 200 == served.client.get("/health").status_code
