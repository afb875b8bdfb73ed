"""Who may speak: the Host check, keys, and bodies."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from server_support import Scripted, Served, application, error, serving
from starlette.types import Message, Receive, Scope, Send

from edgeinfer.errors import InvalidRequest, SettingsError
from edgeinfer.server.guards import BodyLimit, is_loopback_name
from edgeinfer.server.keys import read_keys
from edgeinfer.server.patience import Patience


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "localhost:11435",
        "LOCALHOST.",
        "localhost.:80",
        "127.0.0.1",
        "127.8.9.1:5",
        "[::1]",
        "[::1]:8",
    ],
)
def test_loopback_has_these_names(host: str) -> None:
    """Any port, a dot at the end."""
    assert is_loopback_name(host)


@pytest.mark.parametrize(
    "host",
    [
        "",
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "127.0.0.1.nip.io",
        "0.0.0.0",
        "192.168.0.2",
        "[::]",
        "[::ffff:127.0.0.1]",
        "::1",
        "127.1",
        "2130706433",
        "localhost..",
        "localhost:port",
        "localhost:1:2",
        "evil@localhost",
        "localhost#evil",
        " localhost",
        "localhost\x00",
    ],
)
def test_nothing_else_is_loopback(host: str) -> None:
    """What a page under an attacker's name would send, and what nobody should."""
    assert not is_loopback_name(host)


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with serving(Scripted(), max_body=2000) as found:
        yield found


def test_a_foreign_host_header_is_forbidden(served: Served) -> None:
    """DNS rebinding: the page's browser sends the page's name."""
    found = served.client.get("/health", headers={"host": "evil.example"})
    assert found.status_code == 403
    assert error(found)["param"] == "Host"


def test_no_cross_origin_header_is_ever_sent(served: Served) -> None:
    """A browser's question gets no permission."""
    asked = {"origin": "https://evil.example", "access-control-request-method": "POST"}
    for found in (
        served.client.options("/v1/chat/completions", headers=asked),
        served.client.get("/v1/models", headers=asked),
    ):
        assert not [name for name in found.headers if name.startswith("access-control")]


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""]
)
def test_a_body_that_a_web_page_can_post_is_refused(served: Served, kind: str) -> None:
    """CSRF: these types need no permission from us."""
    headers = {"content-type": kind} if kind else {}
    found = served.client.post("/v1/completions", content=b'{"prompt": "x"}', headers=headers)
    assert found.status_code == 400
    assert error(found)["param"] == "Content-Type"
    assert "application/json" in error(found)["hint"]


def test_json_may_name_its_charset(served: Served) -> None:
    """Many clients do."""
    headers = {"content-type": "Application/JSON; charset=utf-8"}
    assert (
        served.client.post("/v1/completions", content=b'{"prompt": "x"}', headers=headers).status_code == 200
    )


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"{} x",
        b'{"prompt": NaN}',
        b'{"prompt": "\xff"}',
        b"[" * 1999,
        b'{"a":' * 300,
        b'"\\ud800"',
    ],
)
def test_a_body_that_is_no_json_is_400(served: Served, body: bytes) -> None:
    """Also when it is deep enough to break a parser."""
    found = served.client.post("/v1/completions", content=body, headers={"content-type": "application/json"})
    assert found.status_code == 400
    assert error(found)["type"] == "invalid_request_error"


def test_json_that_is_deep_but_valid_does_no_harm() -> None:
    """It is passed on to the template's process, which may refuse it; the daemon goes on."""
    deep = (
        b'{"messages": [{"role": "user", "content": "x"}], "chat_template_kwargs": {"a": '
        + b"[" * 900
        + b"]" * 900
    )
    with serving(Scripted()) as served:
        headers = {"content-type": "application/json"}
        found = served.client.post("/v1/chat/completions", content=deep + b"}}", headers=headers)
        assert found.status_code in (200, 400)
        assert served.chat().status_code == 200


def test_a_compressed_body_is_refused(served: Served) -> None:
    """So is every bomb."""
    headers = {"content-type": "application/json", "content-encoding": "gzip"}
    found = served.client.post("/v1/completions", content=b"\x1f\x8b", headers=headers)
    assert (found.status_code, error(found)["param"]) == (400, "Content-Encoding")


def test_a_body_announced_too_large_is_413(served: Served) -> None:
    """Before a byte of it is read."""
    found = served.complete("x" * 3000)
    assert (found.status_code, error(found)["code"]) == (413, "payload_too_large")


def test_a_body_that_grows_too_large_in_chunks_is_413(served: Served) -> None:
    """A chunked body announces nothing."""
    found = served.client.post(
        "/v1/completions",
        content=iter([b'{"prompt": "', *[b"x" * 500] * 6, b'"}']),
        headers={"content-type": "application/json"},
    )
    assert (found.status_code, error(found)["code"]) == (413, "payload_too_large")


async def _unused(_message: Message) -> None:
    raise AssertionError


async def test_a_body_that_stops_coming_is_given_up() -> None:
    """Slowloris: the request is not held for ever."""

    async def reader(_scope: Scope, receive: Receive, _send: Send) -> None:
        while (await receive())["more_body"]:
            pass

    pieces = [{"type": "http.request", "body": b"{", "more_body": True}]

    async def receive() -> Message:
        if not pieces:
            await asyncio.Event().wait()
        return pieces.pop()

    guard = BodyLimit(reader, limit=100, idle=0.05)
    with pytest.raises(InvalidRequest, match="nothing of the body came"):
        await guard({"type": "http", "headers": []}, receive, _unused)


def test_a_head_that_trickles_in_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also on a connection that once sent a good request; others are served meanwhile."""
    monkeypatch.setattr(Patience, "HEAD", 0.5)
    with serving(Scripted()) as served, socket.create_connection(("127.0.0.1", served.port)) as sock:
        sock.settimeout(5)
        sock.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        found = b""
        while b'"ok"}' not in found:
            found += sock.recv(10000)
        sock.sendall(b"GET /health HTTP/1.1\r\nX-Slow: ")
        assert served.client.get("/health").status_code == 200
        assert sock.recv(1) == b""


def test_a_slow_answer_is_not_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Patience ends with the head, not with the work."""
    monkeypatch.setattr(Patience, "HEAD", 0.3)
    supervisor = Scripted()
    supervisor.hold_first = 0.8
    with serving(supervisor) as served:
        assert served.chat().status_code == 200


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    found = tmp_path / "keys"
    found.write_text("# ours\nalpha\n\n  beta \n")
    found.chmod(0o600)
    return found


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"authorization": "Bearer alpha"}, 200),
        ({"authorization": "bearer beta"}, 200),
        ({"x-api-key": "alpha"}, 200),
        ({"authorization": "Bearer alpha", "x-api-key": "beta"}, 200),
        ({"authorization": "Bearer alpha", "x-api-key": "wrong"}, 401),
        ({"authorization": "Bearer wrong", "x-api-key": "alpha"}, 401),
        ({"authorization": "Basic alpha"}, 401),
        ({"authorization": "alpha"}, 401),
        ({"authorization": "Bearer"}, 401),
        ({"authorization": "Bearer # ours"}, 401),
        ({"x-api-key": "Alpha"}, 401),
    ],
)
def test_a_key_opens_the_api(key_file: Path, headers: dict[str, str], status: int) -> None:
    """Either header, but no wrong one beside a right one."""
    with serving(Scripted(), api_key_file=str(key_file)) as served:
        found = served.client.get("/v1/models", headers=headers)
    assert found.status_code == status


def test_every_route_but_two_wants_a_key(key_file: Path) -> None:
    """Whoever watches the daemon needs none."""
    with serving(Scripted(), api_key_file=str(key_file)) as served:
        statuses = {
            path: served.client.get(path).status_code
            for path in (
                "/health",
                "/ready",
                "/status",
                "/metrics",
                "/docs",
                "/openapi.json",
                "/nowhere",
                "/health/",
            )
        }
    assert {path for path, status in statuses.items() if status != 401} == {"/health", "/ready"}


@pytest.mark.parametrize("text", ["", "# none\n\n"])
def test_a_key_file_without_a_key_is_an_error(tmp_path: Path, text: str) -> None:
    """Else a typo would open the door, or shut it for all."""
    file = tmp_path / "keys"
    file.write_text(text)
    with pytest.raises(SettingsError, match="no key"):
        read_keys(file)
    with pytest.raises(SettingsError):
        read_keys(tmp_path / "missing")


def test_a_key_file_that_others_can_read_is_told(key_file: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Told only: a container's secrets are often made so."""
    key_file.chmod(0o644)
    with caplog.at_level(logging.WARNING):
        assert read_keys(key_file).accept(b"alpha")
    assert "chmod 600" in caplog.text


def test_the_key_file_is_read_at_the_start(key_file: Path) -> None:
    """A daemon with a broken key file does not start."""
    key_file.write_text("")
    with pytest.raises(SettingsError), serving(Scripted(), api_key_file=str(key_file)):
        pass


def test_beyond_loopback_any_host_name_is_served() -> None:
    """There the key protects; the daemon cannot know its names."""
    app = application(Scripted(), host="0.0.0.0", api_key_file=None)
    with serving(Scripted(), app) as served:
        assert served.client.get("/health", headers={"host": "board.lan"}).status_code == 200
