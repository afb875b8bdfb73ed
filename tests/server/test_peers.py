"""GET /peers asks the boards that the settings name, with their own keys, and nothing else."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from edgeinfer.errors import SettingsError
from edgeinfer.server import peers
from edgeinfer.server.auth.keys import Key, digest
from edgeinfer.server.peers import parse_peers, read_keys
from tests.support.server import Scripted, serving

KEY = "key-of-the-other-board"


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Boards answer at once, but this machine may be busy."""
    monkeypatch.setattr(peers, "TIMEOUT", 60.0)


class OtherServer(ThreadingHTTPServer):
    """Answers everything with `answer`, and notes what it was asked."""

    def __init__(self, status: int, body: bytes, **headers: str) -> None:
        self.answer = status, body, headers
        self.asked: list[tuple[str, str | None]] = []
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: OtherServer

    def do_GET(self) -> None:
        self.server.asked.append((self.path, self.headers["authorization"]))
        status, body, headers = self.server.answer
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@contextlib.contextmanager
def answering(status: int, body: bytes, **headers: str) -> Iterator[OtherServer]:
    with OtherServer(status, body, **headers) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def asked(*urls: str, **settings: Any) -> list[dict[str, Any]]:
    """What a board shows of others."""
    with serving(Scripted(), peers=", ".join(urls), **settings) as served:
        found: list[dict[str, Any]] = served.client.get("/peers").json()["peers"]
        return found


@pytest.fixture
def keys(tmp_path: Path) -> str:
    path = tmp_path / "keys"
    path.write_text(Key("page", digest(KEY.encode())).line() + "\n")
    path.chmod(0o600)
    return str(path)


def test_a_board_shows_how_another_one_is() -> None:
    engine = Scripted()
    engine.restarts = 3
    with serving(engine) as other:
        (found,) = asked(other.url + "/")
    assert found["url"] == other.url
    assert (found["condition"], found["state"], found["model"]) == ("answers", "ready", "scripted")
    assert (found["running"], found["waiting"], found["restarts"]) == (0, 0, 3)


def test_tokens_per_second_are_those_since_the_last_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "MAX_AGE", 0.0)
    status = b'{"version": "1", "pid": 7, "models": [{"stats": {"completion_tokens_total": %d}}]}'
    with answering(200, status % 5) as other, serving(Scripted(), peers=other.url) as served:

        def rate() -> Any:
            return served.client.get("/peers").json()["peers"][0]["tokens_per_second"]

        assert rate() is None
        assert rate() == 0
        other.answer = 200, status % 50_000_000, {}
        assert rate() > 0
        other.answer = 200, status.replace(b"7", b"8") % 10, {}
        assert rate() is None, "it is another daemon"


def test_a_board_that_wants_a_key_gets_its_own_and_no_other(keys: str, tmp_path: Path) -> None:
    """Least of all that of the request."""
    with serving(Scripted(), api_key_file=keys) as guarded, answering(200, b"{}") as stranger:
        (found,) = asked(guarded.url)
        assert (found["condition"], guarded.url in found["problem"]) == ("needs a key", True)
        file = tmp_path / "peer-keys"
        file.write_text(f"# of the boards\n{guarded.url} {KEY}\n")
        both = (guarded.url, stranger.url)
        assert [one["condition"] for one in asked(*both, peer_key_file=str(file))] == [
            "answers",
            "no edgeinfer",
        ]
        file.write_text(f"{guarded.url} another\n")
        assert asked(guarded.url, peer_key_file=str(file))[0]["condition"] == "wrong key"
        own = tmp_path / "own"
        own.write_text("own-key-of-this-board\n")
        own.chmod(0o600)
        with serving(Scripted(), peers=stranger.url, api_key_file=str(own)) as served:
            assert served.client.get("/peers").status_code == 401
            bearer = {"authorization": "Bearer own-key-of-this-board"}
            assert served.client.get("/peers", headers=bearer).status_code == 200
        assert set(stranger.asked) == {("/status", None)}


def test_what_is_no_board_does_no_harm() -> None:
    """Nothing follows where it points, or reads all that it sends."""
    with (
        answering(200, b"{}") as target,
        answering(302, b"", location=f"{target.url}/secret") as pointing,
        answering(200, b"[" * 3_000_000) as long,
        answering(200, b'{"version": 1}') as wrong,
        socket.create_server(("127.0.0.1", 0)) as closed,
    ):
        free = f"http://127.0.0.1:{closed.getsockname()[1]}"
        closed.close()
        found = asked(pointing.url, long.url, wrong.url, free)
        assert target.asked == []
    assert [one["condition"] for one in found] == ["no edgeinfer"] * 3 + ["unreachable"]
    assert found[3]["problem"] == "nothing answers at this address"


@pytest.mark.parametrize(
    "answer",
    [
        b'{"version": "1", "pid": 1, "models": [{"stats": {"completion_tokens_total": %s}}]}' % (b"9" * 400),
        b'{"version": "1", "pid": 1, "restarts": -1}',
        b'{"version": "%s", "pid": 1}' % (b"1" * 100_000),
        b'{"version": "1", "pid": 1, "model": {"name": "%s"}}' % (b"m" * 100_000),
    ],
)
def test_figures_that_no_board_has_are_not_shown(monkeypatch: pytest.MonkeyPatch, answer: bytes) -> None:
    """The other boards still are, at each look."""
    monkeypatch.setattr(peers, "MAX_AGE", 0)
    fine = b'{"version": "1", "pid": 1}'
    with (
        answering(200, fine) as other,
        answering(200, fine) as odd,
        serving(Scripted(), peers=f"{odd.url}, {other.url}") as served,
    ):
        for body, condition in ((fine, "answers"), (answer, "no edgeinfer")):
            odd.answer = 200, body, {}
            found = served.client.get("/peers").json()["peers"]
            assert [condition, "answers"] == [one["condition"] for one in found]


def test_a_board_that_is_silent_delays_the_others_no_further(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "TIMEOUT", 0.2)
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        answering(200, b'{"version": "1", "pid": 1}') as other,
    ):
        found = asked(f"http://127.0.0.1:{silent.getsockname()[1]}", other.url)
    assert [one["condition"] for one in found] == ["unreachable", "answers"]
    assert found[0]["problem"] == "it does not answer within 0.2 s"


@pytest.mark.parametrize(
    "peer",
    [
        *("pi5:11435", "file:///etc/passwd", "http://a@b", "http://a/b", "http://"),
        *("http://pi5:99999", "http://pi5:-1", "http://pi5:0", "http://[::1", "http://xn--:1", "http://a\0b"),
    ],
)
def test_only_addresses_of_boards_are_accepted(peer: str) -> None:
    with pytest.raises(SettingsError, match="is not the address of a board"):
        parse_peers(f"http://pi4:11435, {peer}")


def test_a_board_that_is_named_twice_is_shown_once() -> None:
    assert parse_peers(" http://a:1/, ,http://a:1") == ["http://a:1"]
    assert asked() == []


@pytest.mark.parametrize("line", ["http://b:1 key", "http://a:1", "http://a:1 ké", "key"])
def test_a_line_that_is_no_key_of_a_board_is_an_error(line: str, tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"http://a:1 good\n{line}\n")
    with pytest.raises(SettingsError, match="line 2 is not"):
        read_keys(str(file), ["http://a:1"])


def test_a_file_of_keys_that_is_missing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="none: No such file or directory"):
        read_keys(str(tmp_path / "none"), [])
