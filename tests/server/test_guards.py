"""Who may speak: the Host check, origins, keys; and bodies."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from starlette.types import Message, Receive, Scope, Send

from edgeinfer.errors import InvalidRequest, PayloadTooLarge, QueueFull, SettingsError
from edgeinfer.server.http.family import SCOPE_KEY
from edgeinfer.server.middleware.body_limit import BodyLimitMiddleware
from edgeinfer.server.middleware.cors import HEADERS, parse_origins
from edgeinfer.server.middleware.trusted_host import is_loopback_name, parse_hosts
from edgeinfer.server.openai import family as openai
from tests.support.server import Scripted, Served, application, error, serving

SCOPE = {"type": "http", "headers": [], SCOPE_KEY: openai.family()}


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


def test_allowed_hosts_are_names_for_it_as_well() -> None:
    """Whatever the port, the case and a dot at the end; no others beside them."""
    with serving(Scripted(), allowed_hosts="board.lan, 192.168.1.5") as served:
        statuses = {
            host: served.client.get("/health", headers={"host": host}).status_code
            for host in ("Board.lan.:80", "192.168.1.5", "localhost", "board.lan.evil.example", "192.168.1.6")
        }
    assert [200, 200, 200, 403, 403] == list(statuses.values())


def test_beyond_loopback_allowed_hosts_are_the_only_ones() -> None:
    """Given none, any is served: there the key protects, for the daemon cannot know its names."""
    for allowed, expected in (("", 200), ("board.lan", 403)):
        app = application(Scripted(), host="0.0.0.0", allowed_hosts=allowed)
        with serving(Scripted(), app) as served:
            found = served.client.get("/health", headers={"host": "other.lan"})
        assert found.status_code == expected


@pytest.mark.parametrize("text", ["http://board.lan", "board.lan:80", "a b", "*", "board.lan/x", "evil@x"])
def test_what_is_no_host_name_is_a_settings_error(text: str) -> None:
    """Told at the start: it would never match."""
    with pytest.raises(SettingsError, match="allowed_hosts"):
        parse_hosts(f"fine.lan,{text}")


FOREIGN = ("https://evil.example", "null", "http://localhost", "http://localhost:1", "file://", "")


def preflight(served: Served, origin: str, **headers: str) -> httpx.Response:
    asked = {"origin": origin, "access-control-request-method": "POST"} | headers
    return served.client.options("/v1/chat/completions", headers=asked)


@pytest.mark.parametrize("origin", FOREIGN)
def test_a_foreign_origin_is_refused_and_gets_no_permission(served: Served, origin: str) -> None:
    """CSRF: not its question, not what it reads, not what it posts without a question."""
    headers = {"origin": origin, "content-type": "text/plain"}
    for found in (
        preflight(served, origin),
        served.client.get("/v1/models", headers=headers),
        served.client.post("/v1/completions", content=b'{"prompt": "x"}', headers=headers),
        served.client.post("/v1/completions", json={"prompt": "x"}, headers={"origin": origin}),
    ):
        assert (found.status_code, error(found)["param"]) == (403, "Origin")
        assert not [name for name in found.headers if name.startswith("access-control")]


def test_two_origins_are_foreign(served: Served) -> None:
    """Even if one is ours."""
    headers = [("origin", served.url), ("origin", served.url)]
    assert served.client.get("/v1/models", headers=headers).status_code == 403


def test_pages_of_our_own_may_ask(served: Served) -> None:
    """From the very name and port that is asked."""
    found = served.client.post("/v1/completions", json={"prompt": "x"}, headers={"origin": served.url})
    assert found.status_code == 200
    for name in ("localhost", "127.0.0.1"):
        host = f"{name}:{served.port}"
        headers = {"host": host, "origin": f"http://{host}"}
        assert served.client.get("/v1/models", headers=headers).status_code == 200


def test_a_page_of_cors_origins_may_ask() -> None:
    """With the permission that its browser wants, also on errors; others still may not."""
    with serving(Scripted(), cors_origins="https://app.example, tauri://localhost") as served:
        for origin in ("https://app.example", "https://App.Example", "tauri://localhost"):
            asked = {"access-control-request-headers": "content-type,x-stainless-os"}
            found = preflight(served, origin, **asked)
            assert (found.status_code, found.headers["access-control-allow-origin"]) == (204, origin)
            assert "POST" in found.headers["access-control-allow-methods"]
            allowed = found.headers["access-control-allow-headers"].split(", ")
            assert {"authorization", "content-type", "x-api-key", "x-stainless-os"} <= set(allowed)
            for path, status in (("/v1/models", 200), ("/nowhere", 404)):
                found = served.client.get(path, headers={"origin": origin})
                assert found.status_code == status
                assert found.headers["access-control-allow-origin"] == origin
                assert found.headers["vary"] == "Origin"
        for origin in FOREIGN:
            assert preflight(served, origin).status_code == 403
        assert "vary" not in served.client.get("/v1/models").headers


def test_a_preflight_cannot_forge_a_header() -> None:
    """What it asks for comes back only where it is names of headers."""
    with serving(Scripted(), cors_origins="https://app.example") as served:
        found = preflight(served, "https://app.example", **{"access-control-request-headers": "a;b, <c>"})
        assert set(found.headers["access-control-allow-headers"].split(", ")) == set(HEADERS)


def test_a_browser_asks_without_a_key_and_is_answered(key_file: Path) -> None:
    """It sends the key with the request itself; a refusal can be read by the page."""
    with serving(Scripted(), api_key_file=str(key_file), cors_origins="https://app.example") as served:
        assert preflight(served, "https://app.example").status_code == 204
        found = served.client.get("/v1/models", headers={"origin": "https://app.example"})
        assert (found.status_code, found.headers["access-control-allow-origin"]) == (
            401,
            "https://app.example",
        )


@pytest.mark.parametrize("text", ["*", "null", "app.example", "https://app.example/", "https://a@b"])
def test_what_is_no_origin_is_a_settings_error(text: str) -> None:
    """Least of all a star, which would let every page in."""
    with pytest.raises(SettingsError, match="cors_origins"):
        parse_origins(f"https://fine.example,{text}")


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


@pytest.mark.parametrize(("depth", "status"), [(126, 200), (127, 400), (900, 400)])
def test_json_may_be_so_deep_and_no_deeper(depth: int, status: int) -> None:
    """What is let through is harmless to all that goes down it; lists beside each other do not count."""
    flat = b"[" + b"[{}]," * 200 + b"[]]"
    deep = b'{"messages": [{"role": "user", "content": "x"}], "chat_template_kwargs": {"a": '
    body = deep + b"[" * depth + b"]" * depth + b', "b": ' + flat + b"}}"
    with serving(Scripted()) as served:
        headers = {"content-type": "application/json"}
        found = served.client.post("/v1/chat/completions", content=body, headers=headers)
        assert found.status_code == status
        assert status == 200 or "nested" in error(found)["message"]
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


async def _read_all(_scope: Scope, receive: Receive, _send: Send) -> None:
    while (await receive())["more_body"]:
        pass


def _from(address: str) -> Scope:
    return {"type": "http", "headers": [], SCOPE_KEY: openai.family(), "client": (address, 1)}


def _sender(pause: float, *pieces: bytes) -> Receive:
    """A client that waits before each piece, and never comes to an end."""
    left = list(pieces)

    async def receive() -> Message:
        await asyncio.sleep(pause if left else 60)
        return {"type": "http.request", "body": left.pop(0), "more_body": True}

    return receive


@pytest.mark.parametrize(
    ("pause", "pieces"), [(0.0, [b"{"]), (0.02, [b"x"] * 1000)], ids=["stops", "trickles"]
)
async def test_a_body_that_takes_too_long_is_given_up(pause: float, pieces: list[bytes]) -> None:
    """Slowloris: neither silence nor a byte now and then holds a request for ever."""
    guard = BodyLimitMiddleware(_read_all, limit=10000, max_pause=0.2)
    with pytest.raises(InvalidRequest, match="timed out while reading"):
        await guard(SCOPE, _sender(pause, *pieces), _unused)
    assert guard.held == 0


async def test_a_slow_body_that_keeps_coming_is_waited_for() -> None:
    """A poor connection is no attack."""
    guard = BodyLimitMiddleware(_read_all, limit=1 << 20, max_pause=0.2, min_rate=1000)
    with pytest.raises(PayloadTooLarge):
        await guard(SCOPE, _sender(0.05, *[b"x" * 100_000] * 20), _unused)


async def test_bodies_together_do_not_fill_the_memory() -> None:
    """Each is within its limit; the one too many is turned away, and there is room when others are done."""
    guard = BodyLimitMiddleware(_read_all, limit=1000)
    full = b"x" * 1000
    callers = [_from(f"10.0.0.{n // 2}") for n in range(4)]
    tasks = [asyncio.create_task(guard(caller, _sender(0.0, full), _unused)) for caller in callers]
    await asyncio.sleep(0.05)
    assert guard.held == 4000
    with pytest.raises(QueueFull):
        await guard(SCOPE, _sender(0.0, full), _unused)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert (guard.held, dict(guard.held_by)) == (0, {})


async def test_one_caller_s_bodies_leave_room_for_those_of_others() -> None:
    """It could hold them for hours, a byte at a time."""
    guard = BodyLimitMiddleware(_read_all, limit=1000)
    full = b"x" * 1000
    one, other = _from("10.0.0.1"), _from("10.0.0.2")
    tasks = [asyncio.create_task(guard(one, _sender(0.0, full), _unused)) for _ in range(2)]
    await asyncio.sleep(0.05)
    with pytest.raises(QueueFull):
        await guard(one, _sender(0.0, full), _unused)
    tasks.append(asyncio.create_task(guard(other, _sender(0.0, full), _unused)))
    await asyncio.sleep(0.05)
    assert guard.held == 3000
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


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
        ({"authorization": "Bearer alpha", "x-api-key": "alpha"}, 200),
        ({"authorization": "Bearer alpha", "x-api-key": "beta"}, 401),
        ({"authorization": "Bearer alpha", "x-api-key": "wrong"}, 401),
        ({"authorization": "Bearer wrong", "x-api-key": "alpha"}, 401),
        ({"authorization": "Basic alpha"}, 401),
        ({"authorization": "alpha"}, 401),
        ({"authorization": "Bearer"}, 401),
        ({"authorization": "Bearer # ours"}, 401),
        ({"x-api-key": "Alpha"}, 401),
        ([("x-api-key", "alpha")] * 3, 401),
    ],
)
def test_a_key_opens_the_api(
    key_file: Path, headers: dict[str, str] | list[tuple[str, str]], status: int
) -> None:
    """Either header, but no other one beside it: neither a wrong one, nor one whose limits it would escape."""
    with serving(Scripted(), api_key_file=str(key_file)) as served:
        found = served.client.get("/v1/models", headers=headers)
    assert found.status_code == status


def test_every_route_but_four_wants_a_key(key_file: Path) -> None:
    """Monitoring needs none, and the page tells nothing without one. A slash at the end and HEAD change nothing about that."""
    with serving(Scripted(), api_key_file=str(key_file)) as served:
        statuses = {
            path: served.client.get(served.url + path).status_code
            for path in (
                "/",
                "/health",
                "/ready",
                "/status",
                "/metrics",
                "/docs",
                "/openapi.json",
                "/nowhere",
                "/health/",
                "/ready/",
                "/health//",
                "//",
                "//health",
                "/status/",
                "/v1/models/",
                "/v1/models/health/",
                "/health/x/",
                "/nowhere/",
                "/openapi.json/",
            )
        }
        heads = {path: served.client.head(served.url + path).status_code for path in statuses}
    free = {"/", "/docs", "/health", "/ready", "/health/", "/ready/"}
    assert {path for path, status in statuses.items() if status != 401} == free
    assert heads == statuses
