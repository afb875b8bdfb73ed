"""Clients that open connections and do something else than ask and read. Others are not disturbed."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import resource
import socket
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from edgeinfer.inference.fake import fake_finish
from edgeinfer.inference.output import Delta
from edgeinfer.server.http import connections
from edgeinfer.server.http.protocol import TimeoutProtocol
from tests.support.cli import environment
from tests.support.raw_http import GET, connected, envelope, post, read_all, read_until
from tests.support.server import Scripted, Served, eventually, serving


def test_a_head_that_trickles_in_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Slowloris, also on a connection that once sent a good request; others are served meanwhile."""
    monkeypatch.setattr(TimeoutProtocol, "HEAD_TIMEOUT", 0.5)
    with serving(Scripted()) as served, connected(served.port) as sock:
        sock.sendall(GET)
        read_until(sock, b'"ok"}')
        sock.sendall(b"GET /health HTTP/1.1\r\nX-Slow: ")
        for _ in range(20):
            with contextlib.suppress(OSError):
                sock.sendall(b"x")
            time.sleep(0.05)
        assert served.client.get("/health").status_code == 200
        assert read_all(sock) == b""


def test_a_slow_answer_is_not_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """The timeout ends with the head, not with the work."""
    for name in ("HEAD_TIMEOUT", "LINGER_TIMEOUT", "STALL_TIMEOUT"):
        monkeypatch.setattr(TimeoutProtocol, name, 0.3)
    supervisor = Scripted()
    supervisor.hold_first = 0.8
    with serving(supervisor) as served:
        assert served.chat().status_code == 200
        assert served.chat(stream=True).text.endswith("data: [DONE]\n\n")


def test_what_goes_on_sending_after_its_answer_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """A body of bytes now and then, that nobody reads, would hold a connection for ever."""
    monkeypatch.setattr(TimeoutProtocol, "LINGER_TIMEOUT", 0.3)
    head = b"POST /nowhere HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n"
    with serving(Scripted()) as served, connected(served.port) as sock:
        sock.sendall(head)
        read_until(sock, b'"not_found"')
        started = time.monotonic()
        with contextlib.suppress(ConnectionError):
            while time.monotonic() - started < 10:
                sock.sendall(b"x")
                time.sleep(0.05)
        assert time.monotonic() - started < 9


def test_a_body_sent_on_after_a_refusal_does_not_lose_the_answer() -> None:
    """Who sends it all before reading, as most clients do, still learns why."""
    with serving(Scripted(), max_body=2000) as served, connected(served.port) as sock:
        sock.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9000\r\n\r\n")
        time.sleep(0.2)
        sock.sendall(b"x" * 9000)
        assert b" 413 " in read_until(sock, b"payload_too_large")
        sock.sendall(GET)  # and the connection can be used again
        read_until(sock, b'"ok"}')


PIECE = "x" * 10_000


class Flood(Scripted):
    """Its answers are of so many pieces, of ten thousand characters each, as fast as they are taken."""

    def __init__(self, pieces: int) -> None:
        super().__init__()
        self.count = pieces

    async def generate(self, *_asked: Any, **_more: Any) -> AsyncGenerator[Delta, None]:
        self.running += 1
        try:
            for _ in range(self.count):
                yield Delta(1, 0, PIECE, [1])
                await asyncio.sleep(0)
            yield Delta(1, 0, "", [], None, fake_finish())
        finally:
            self.running -= 1
            self.ended += 1


def test_a_reader_that_does_not_read_is_cut_off_and_its_request_ends(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What waits for it is bounded, and the slot is free for others, who were served meanwhile."""
    monkeypatch.setattr(TimeoutProtocol, "STALL_TIMEOUT", 0.5)
    supervisor = Flood(5000)
    with caplog.at_level(logging.INFO), serving(supervisor) as served, connected(served.port, 4096) as sock:
        sock.sendall(post({"prompt": "x", "stream": True}))
        assert eventually(lambda: supervisor.running)
        assert served.client.get("/health").status_code == 200
        assert eventually(lambda: supervisor.ended, 20)
        assert eventually(lambda: " 499 " in caplog.text)
        assert len(read_all(sock)) < 5000 * len(PIECE) / 2
    assert "Traceback" not in caplog.text


def test_a_slow_reader_that_reads_is_served_to_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """As over a poor connection: what matters is that it goes on."""
    monkeypatch.setattr(TimeoutProtocol, "STALL_TIMEOUT", 0.5)
    with serving(Flood(600)) as served, connected(served.port, 65536) as sock:
        sock.sendall(post({"prompt": "x", "stream": True}, more="Connection: close\r\n"))
        got = b""
        while data := sock.recv(65536):
            got += data
            time.sleep(0.005)
        assert b"[DONE]" in got
        assert got.count(PIECE.encode()) == 600


def test_answers_that_nobody_takes_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands of requests in one breath, and not one answer read."""
    monkeypatch.setattr(TimeoutProtocol, "STALL_TIMEOUT", 0.5)
    with serving(Scripted()) as served, connected(served.port, 4096) as sock:
        sock.settimeout(2)
        with contextlib.suppress(OSError):
            for _ in range(400):
                sock.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n" * 10)
        assert served.client.get("/health").status_code == 200
        sock.settimeout(20)
        assert len(read_all(sock)) < 4000 * 10_000


HALVES = (
    b"",
    b"G",
    b"GET /health HTTP/1.1\r\n",
    b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b'Content-Length: 100\r\n\r\n{"prompt": ',
    b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b"Transfer-Encoding: chunked\r\n\r\nff\r\n{",
    b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n",
)


@pytest.mark.parametrize("reset", [False, True])
def test_half_a_request_disturbs_nobody(reset: bool, caplog: pytest.LogCaptureFixture) -> None:
    """Whether its connection is closed or reset, and wherever it breaks off."""
    supervisor = Scripted()
    with caplog.at_level(logging.INFO), serving(supervisor) as served:
        for half in HALVES * 10:
            with connected(served.port) as sock:
                sock.sendall(half)
                if reset:
                    linger = b"\x01\x00\x00\x00\x00\x00\x00\x00"
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        assert served.chat().status_code == 200
    assert len(supervisor.requests) == 1
    assert "Traceback" not in caplog.text
    assert " 500 " not in caplog.text


def test_connections_that_are_reset_with_something_unsaid_stop_nobody(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Thousands, at every moment of a connection's beginning; nothing is written about them."""
    linger = b"\x01\x00\x00\x00\x00\x00\x00\x00"
    with caplog.at_level(logging.INFO), serving(Scripted()) as served:
        for n in range(2000):
            with contextlib.suppress(ConnectionError), connected(served.port) as sock:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                sock.sendall((b"nonsense\r\n\r\n", b"\x16\x03", GET, b"", b"GET /")[n % 5])
                if n % 3 == 0:
                    sock.settimeout(0.002)
                    with contextlib.suppress(TimeoutError):
                        sock.recv(1)
        assert httpx.get(f"{served.url}/health").status_code == 200
    assert "Traceback" not in caplog.text
    assert "ERROR" not in caplog.text


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (b"nonsense\r\n\r\n", (400, "invalid_value")),
        (b"GET / HTTP/2.0.1\r\n\r\n", (400, "invalid_value")),
        (b"GET /health HTTP/1.1\r\n\r\n", (400, "invalid_value")),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500), (400, "invalid_value")),
        (
            b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
            (400, "invalid_value"),
        ),
        (b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n", (400, "invalid_value")),
        (b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 70_000, (431, "headers_too_large")),
        (b"GET /" + b"x" * 70_000, (431, "headers_too_large")),
        (b"GET /health HTTP/1.1\r\n" + b"x: y\r\n" * 20_000, (431, "headers_too_large")),
        (b"GET /health HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n", (400, "invalid_value")),
    ],
    ids=range(10),
)
def test_what_is_no_http_is_told_in_the_envelope(request_: bytes, expected: tuple[int, str]) -> None:
    """And the connection is closed; a head that is too large has a status of its own."""
    with serving(Scripted()) as served, connected(served.port) as sock:
        sock.sendall(request_)
        assert envelope(read_all(sock)) == expected
        assert served.client.get("/health").status_code == 200


def test_nonsense_inside_a_request_ends_it() -> None:
    """A chunk that is none, after the work may have begun."""
    head = b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    with serving(Scripted()) as served, connected(served.port) as sock:
        sock.sendall(head + b"Transfer-Encoding: chunked\r\n\r\nnonsense\r\n")
        assert envelope(read_all(sock)) == (400, "invalid_value")
        assert served.client.get("/health").status_code == 200


def test_one_connection_too_many_costs_the_idlest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not the newcomer, and not one that is waiting for its answer."""
    monkeypatch.setattr(connections, "MAX_CONNECTIONS", 10)
    supervisor = Scripted()
    supervisor.hold_first = 1.5
    with serving(supervisor) as served, ExitStack() as stack:
        busy = stack.enter_context(connected(served.port))
        busy.sendall(post({"prompt": "x"}))
        assert eventually(lambda: supervisor.running)
        idle = [stack.enter_context(connected(served.port)) for _ in range(30)]
        for _ in range(5):
            assert httpx.get(f"{served.url}/health").status_code == 200
        assert read_all(idle[0]) == b""
        idle[-1].sendall(GET)
        read_until(idle[-1], b'"ok"}')
        assert b" 200 OK" in read_until(busy, b'"usage"')


def test_if_all_are_busy_a_newcomer_is_turned_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is a limit after all."""
    monkeypatch.setattr(connections, "MAX_CONNECTIONS", 2)
    supervisor = Scripted()
    supervisor.hold_first = 60
    with serving(supervisor) as served, ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(connected(served.port)).sendall(post({"prompt": "x"}))
        assert eventually(lambda: supervisor.running == 2)
        assert read_all(stack.enter_context(connected(served.port))) == b""


def test_the_limit_of_open_files_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    """As far as may be, and not beyond what is of use; it says how many connections that is."""
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "setrlimit", lambda _which, limits: asked.append(limits))
    monkeypatch.setattr(sys, "platform", "linux")
    limits = [0, 0]
    monkeypatch.setattr(resource, "getrlimit", lambda _which: limits)
    for soft, hard, expected, most in (
        (1024, 4096, [4096], 2048),
        (256, 512, [512], 384),
        (1024, 1 << 30, [65536], 2048),
        (1024, resource.RLIM_INFINITY, [65536], 2048),
        (1 << 20, 1 << 20, [], 2048),
        (64, 64, [], 1),
    ):
        asked.clear()
        limits[:] = soft, hard
        assert connections.raise_limit() == most
        assert asked == [(wanted, hard) for wanted in expected]


@pytest.fixture
def crowded(tmp_path: Path) -> Iterator[tuple[Served, int]]:
    """A real daemon that was started with few files, and how many connections this process may open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    command = f"ulimit -Sn 256; exec {sys.executable} -m edgeinfer serve --model fake:2 --port 0"
    process = subprocess.Popen(
        ["sh", "-c", command], stderr=subprocess.PIPE, text=True, env=environment(tmp_path)
    )
    assert process.stderr
    try:
        url = process.stderr.readline().split()[-1]
        with httpx.Client(base_url=url, timeout=30) as client:
            assert eventually(lambda: client.get("/ready").status_code == 200, 20)
            yield Served(url, client), min(hard, 4096)
    finally:
        process.terminate()
        process.communicate(timeout=30)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.slow
def test_a_thousand_idle_connections_leave_others_undisturbed(crowded: tuple[Served, int]) -> None:
    """A stream that runs goes on, and new requests are answered as fast as before; half of them say something."""
    served, most = crowded
    if most < 1200:
        pytest.skip("this machine allows too few open files")
    served.complete(max_tokens=5)
    with ExitStack() as stack:
        running = stack.enter_context(connected(served.port))
        running.sendall(post({"prompt": "x", "stream": True, "max_tokens": 400, "ignore_eos": True}))
        read_until(running, b"data: ")
        for n in range(1000):
            sock = stack.enter_context(connected(served.port))
            if n % 2:
                sock.sendall(b"GET /health HTTP/1.1\r\nX: ")
        started = time.monotonic()
        for _ in range(10):
            assert httpx.get(f"{served.url}/health").status_code == 200
            assert served.complete(max_tokens=5).status_code == 200
        assert time.monotonic() - started < 30
        assert b"[DONE]" in read_until(running, b"[DONE]")


@pytest.mark.slow
def test_when_descriptors_run_out_others_still_get_in_and_the_log_stays_small(tmp_path: Path) -> None:
    """As on a machine where the limit cannot be raised: the one that has been idle longest makes room."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    log = tmp_path / "log"
    log.touch()
    limit = (
        "import resource, sys; from edgeinfer.server.http import connections; connections.RESERVE = -1000; "
    )
    code = limit + "from edgeinfer.cli import main; sys.exit(main())"
    command = f"ulimit -n 100; exec {sys.executable} -c '{code}' serve --model fake --port 0 2>{log}"
    with subprocess.Popen(["sh", "-c", command], env=environment(tmp_path)) as process, ExitStack() as stack:
        try:
            assert eventually(lambda: "listening on" in log.read_text(), 20)
            port = int(log.read_text().partition("listening on ")[2].split()[0].rpartition(":")[2])
            assert eventually(lambda: httpx.get(f"http://127.0.0.1:{port}/ready").status_code == 200, 20)
            for _ in range(500):
                stack.enter_context(connected(port))
            for _ in range(10):
                assert httpx.get(f"http://127.0.0.1:{port}/health", timeout=10).status_code == 200
        finally:
            process.terminate()
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert log.read_text().count("cannot accept all connections") == 1
    assert log.stat().st_size < 10_000
