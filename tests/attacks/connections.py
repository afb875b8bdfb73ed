"""Attacks by clients that open connections and do something else than ask and read."""

from __future__ import annotations

import contextlib
import selectors
import socket
import ssl
import time
from collections.abc import Iterator

from tests.attacks.target import Target

TINY_CHUNKS = b"1\r\nx\r\n" * 10_000
JSON, CHUNKED = "Content-Type: application/json", "Transfer-Encoding: chunked"


@contextlib.contextmanager
def _connections(target: Target, count: int, *, tcp: bool = False) -> Iterator[list[socket.socket]]:
    """As many connections as can be had; `tcp` leaves out the TLS handshake."""
    socks: list[socket.socket] = []
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            if target.is_over():
                break
            with contextlib.suppress(OSError):
                socks.append(stack.enter_context(target.connect_tcp() if tcp else target.connect()))
        yield socks


def _flood(target: Target, socks: list[socket.socket], data: bytes) -> None:
    """Send `data` on every connection, again and again, as fast as it is taken."""
    with selectors.DefaultSelector() as selector:
        for sock in socks:
            sock.setblocking(False)
            selector.register(sock, selectors.EVENT_WRITE)
        while not target.is_over() and selector.get_map():
            for key, _events in selector.select(0.1):
                assert isinstance(key.fileobj, socket.socket)
                if not _send_some(key.fileobj, data):
                    selector.unregister(key.fileobj)


def _send_some(sock: socket.socket, data: bytes) -> bool:
    """Send what is taken at once; False if the connection is closed."""
    try:
        sock.send(data)
    except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
        return True
    except OSError:
        return False
    return True


def _send(sock: socket.socket, data: bytes) -> bool:
    try:
        sock.sendall(data)
    except OSError:
        return False
    return True


def be_silent(target: Target) -> None:
    """More connections than are allowed, without a byte."""
    while not target.is_over():
        with _connections(target, 3000, tcp=True):
            time.sleep(1)


def trickle_heads(target: Target) -> None:
    """Slowloris."""
    with _connections(target, 500) as socks:
        for sock in socks:
            _send(sock, b"GET / HTTP/1.1\r\nX: ")
        while not target.is_over():
            for sock in socks:
                _send(sock, b"x")
            time.sleep(0.5)


def send_tiny_chunks(target: Target) -> None:
    with _connections(target, 64) as socks:
        for sock in socks:
            _send(sock, target.head("POST", target.post_path(), JSON, CHUNKED))
        _flood(target, socks, TINY_CHUNKS)


def send_unfinished_bodies(target: Target) -> None:
    """As many as a smaller limit of connections would have allowed."""
    while not target.is_over():
        with _connections(target, 300) as socks:
            for sock in socks:
                _send(sock, target.head("POST", target.post_path(), JSON, "Content-Length: 1000") + b"{")
            while not target.is_over():
                time.sleep(0.1)


def pipeline(target: Target) -> None:
    with _connections(target, 100) as socks:
        _flood(target, socks, target.head("GET", "/nowhere") * 500)


def do_not_read(target: Target) -> None:
    """Each asks for something large, over and over, and takes nothing."""
    path = "/openapi.json"
    if target.kind == "mirror":
        path = "/edgeinfer/edgeinfer-nano-GGUF/resolve/main/edgeinfer-nano-Q8_0.gguf"
    with _connections(target, 300) as socks:
        for sock in socks:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            _send(sock, target.head("GET", path) * 20)
        while not target.is_over():
            time.sleep(0.1)


def come_and_go(target: Target) -> None:
    """Connections that are reset at once, in the middle of a TLS handshake if there is one."""
    linger = b"\x01\x00\x00\x00\x00\x00\x00\x00"
    while not target.is_over():
        with contextlib.suppress(OSError), target.connect_tcp() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            sock.sendall(b"\x16\x03\x01")


def send_nonsense(target: Target) -> None:
    while not target.is_over():
        with contextlib.suppress(OSError), target.connect() as sock:
            sock.sendall(b"nonsense\r\n\r\n")
            sock.recv(1000)


def offer_upgrades(target: Target) -> None:
    head = target.head("GET", target.health, "Connection: Upgrade", "Upgrade: h2c")
    while not target.is_over():
        with contextlib.suppress(OSError), target.connect() as sock:
            while not target.is_over() and _send(sock, head) and sock.recv(65536):
                pass


def cancel(target: Target) -> None:
    """Requests whose client leaves while they are answered."""
    body = b'{"prompt": "x", "max_tokens": 500, "stream": true}'
    request = target.head("POST", "/v1/completions", JSON, f"Content-Length: {len(body)}") + body
    while not target.is_over():
        with contextlib.suppress(OSError), target.connect() as sock:
            sock.sendall(request)
            sock.recv(100)
