"""A client that goes takes its work along; a client that waits sees that the daemon lives."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import struct
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable
from itertools import count
from typing import Any

import pytest
from msgspec.structs import replace
from starlette.types import Message

from edgeinfer.errors import WorkerDied
from edgeinfer.inference.fake import fake_finish
from edgeinfer.inference.output import Delta
from edgeinfer.server.http.family import SCOPE_KEY
from edgeinfer.server.http.sse import EventStream
from edgeinfer.server.openai import family as openai
from tests.support.raw_http import connected, post, read_until
from tests.support.server import Scripted, Served, application, eventually, serving


def leave(served: Served, path: str, body: dict[str, Any], started: Any) -> None:
    """Ask, and hang up once `started`."""
    data = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    with socket.create_connection(("127.0.0.1", served.port)) as sock:
        sock.sendall(f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data)
        assert eventually(started)


CHAT = {"messages": [{"role": "user", "content": "Hi"}]}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", CHAT),
        ("/v1/completions", {"prompt": "x"}),
        ("/v1/completions", {"prompt": ["x", "y", "z"]}),
    ],
)
def test_a_client_that_goes_before_the_first_token_cancels(
    stream: bool, path: str, body: dict[str, Any]
) -> None:
    """Prefill is the longest wait there is, and the likeliest to be left."""
    supervisor = Scripted()
    supervisor.hold_first = 60
    with serving(supervisor) as served:
        leave(served, path, {**body, "stream": stream}, lambda: supervisor.running)
        assert eventually(lambda: not supervisor.running)
        assert supervisor.ended == len(supervisor.requests)


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_goes_in_the_middle_cancels(stream: bool, caplog: pytest.LogCaptureFixture) -> None:
    """And is logged as gone, without a traceback."""
    supervisor = Scripted(*"abcdefgh" * 100)
    supervisor.hold_each = 0.05
    with caplog.at_level(logging.INFO), serving(supervisor) as served:
        leave(served, "/v1/chat/completions", {**CHAT, "stream": stream}, lambda: supervisor.running)
        assert eventually(lambda: supervisor.ended)
        assert eventually(lambda: " 499 " in caplog.text)
    assert "Traceback" not in caplog.text


def test_others_go_on_when_one_client_goes() -> None:
    """Cancelling is for the one request alone."""
    supervisor = Scripted(*"abcd")
    supervisor.hold_each = 0.1
    with serving(supervisor) as served:
        leave(served, "/v1/chat/completions", CHAT, lambda: supervisor.running)
        assert served.chat().json()["choices"][0]["message"]["content"] == "abcd"


def _bug() -> bytes:
    raise ValueError("a bug")


class Connection:
    """The server's side of ASGI, with a client that stays."""

    def __init__(self) -> None:
        self.sent: list[Message] = []

    async def receive(self) -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    async def send(self, message: Message) -> None:
        self.sent.append(message)

    @property
    def body(self) -> bytes:
        return b"".join(m.get("body", b"") for m in self.sent)


SCOPE = {SCOPE_KEY: openai.family()}


def starting(events: AsyncGenerator[bytes, None]) -> Callable[[], Awaitable[AsyncGenerator[bytes, None]]]:
    """What begins the stream of these events."""

    async def start() -> AsyncGenerator[bytes, None]:
        return events

    return start


async def slow(*pauses: float) -> AsyncGenerator[bytes, None]:
    for pause in pauses:
        await asyncio.sleep(pause)
        yield b"data: x\n\n"


async def test_a_quiet_stream_shows_that_it_lives() -> None:
    """Also before its first event: proxies close what is silent."""
    connection = Connection()
    await EventStream(starting(slow(0.25, 0.25)), quiet=0.1)(SCOPE, connection.receive, connection.send)
    before, between, after = connection.body.split(b"data: x\n\n")
    assert b": keep-alive\n\n" in before
    assert b": keep-alive\n\n" in between
    assert after == b""
    assert [m["type"] for m in connection.sent].count("http.response.start") == 1
    assert connection.sent[-1]["more_body"] is False


async def test_a_stream_can_have_signs_of_its_own() -> None:
    """Some clients wait for an event, and overlook comments."""
    connection = Connection()
    numbers = count()

    async def start() -> AsyncGenerator[bytes, None]:
        await asyncio.sleep(0.25)
        raise WorkerDied("gone")

    stream = EventStream(
        start,
        quiet=0.05,
        keep_alive=lambda: b"data: %d\n\n" % next(numbers),
        error=lambda error: b"data: %s\n\n" % error.code.encode(),
    )
    await stream(SCOPE, connection.receive, connection.send)
    assert connection.body.startswith(b"data: 0\n\ndata: 1\n\n")
    assert connection.body.endswith(b"data: worker_died\n\n")
    assert b": keep-alive" not in connection.body


async def test_a_stream_that_begins_late_shows_that_it_lives() -> None:
    """Its model may have to be loaded first."""

    async def start() -> AsyncGenerator[bytes, None]:
        await asyncio.sleep(0.25)
        return slow(0.0)

    connection = Connection()
    await EventStream(start, quiet=0.1)(SCOPE, connection.receive, connection.send)
    assert connection.body.startswith(b": keep-alive\n\n")
    assert connection.body.endswith(b"data: x\n\n")


async def test_a_busy_stream_has_no_comments() -> None:
    """They are for silence."""
    connection = Connection()
    await EventStream(starting(slow(*[0.02] * 10)), quiet=2.0)(SCOPE, connection.receive, connection.send)
    assert connection.body == b"data: x\n\n" * 10


async def test_a_family_can_stream_lines_that_nothing_is_sent_between() -> None:
    """Where the format has no comments, silence is all that can be sent; errors are lines like others."""

    async def lines() -> AsyncGenerator[bytes, None]:
        await asyncio.sleep(0.2)
        yield b"{}\n"
        raise WorkerDied("it crashed")

    family = replace(
        openai.family(),
        stream_type="application/x-ndjson",
        keep_alive=b"",
        stream_error=lambda error: error.message.encode() + b"\n",
    )
    connection = Connection()
    await EventStream(starting(lines()), quiet=0.05)({SCOPE_KEY: family}, connection.receive, connection.send)
    assert b"{}\nit crashed\n" == connection.body
    assert (b"content-type", b"application/x-ndjson") in connection.sent[0]["headers"]


async def test_an_error_after_a_keep_alive_is_an_event() -> None:
    """The status is out by then."""

    async def fail() -> AsyncGenerator[bytes, None]:
        await asyncio.sleep(0.15)
        yield _bug()

    connection = Connection()
    await EventStream(starting(fail()), quiet=0.05)(SCOPE, connection.receive, connection.send)
    assert b'"internal_error"' in connection.body
    assert connection.sent[-1]["more_body"] is False


def test_a_stream_cut_by_shutdown_ends_with_an_honest_error() -> None:
    """What was told is told; the rest is an error event, not silence."""
    supervisor = Scripted(*"ab")

    def die() -> None:
        supervisor.state = "stopped"
        raise WorkerDied("the worker died: exit status 0")

    supervisor.before_last = die
    with serving(supervisor, application(supervisor)) as served:
        found = served.chat(stream=True)
    assert '"code":"shutting_down"' in found.text
    assert "[DONE]" not in found.text


class Burst(Scripted):
    """Its answer begins, stops the event loop until `go_on`, and then has many pieces at once."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on = threading.Event()

    async def generate(self, *_asked: Any, **_more: Any) -> AsyncGenerator[Delta, None]:
        yield Delta(1, 0, "a", [1])
        await asyncio.sleep(0)  # until it has been sent
        self.go_on.wait(30)
        for _ in range(50):
            yield Delta(1, 0, "b", [1])
        yield Delta(1, 0, "", [], None, fake_finish())


def test_the_rest_of_an_answer_is_not_written_to_a_connection_that_was_reset(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """asyncio would log each try, so that whoever hangs up could fill the log."""
    engine = Burst()
    with caplog.at_level(logging.INFO), serving(engine) as served, connected(served.port) as sock:
        sock.sendall(post({"prompt": "x", "stream": True}))
        read_until(sock, b'"a"')
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()  # which resets it
        engine.go_on.set()
        assert eventually(lambda: "/v1/completions 499" in caplog.text)
    assert not [record for record in caplog.records if record.name == "asyncio"]
