"""What the log says of requests: who asked what, never what was said, unless somebody wants that."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from edgeinfer import log
from edgeinfer.server.http.sockets import bind
from edgeinfer.server.run import Server
from edgeinfer.settings import Settings
from tests.support.server import Scripted, Served, application, eventually, serving

SECRET = "my-secret-prompt"
CHAT = {"messages": [{"role": "user", "content": SECRET}]}


def access_lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.name == "edgeinfer.access"]


def of_ours(caplog: pytest.LogCaptureFixture) -> str:
    """All but what the tests' own client logs."""
    return "\n".join(r.getMessage() for r in caplog.records if not r.name.startswith(("http", "asyncio")))


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    found = tmp_path / "keys"
    found.write_text("alpha\n")
    found.chmod(0o600)
    return found


def test_a_line_names_the_key_and_the_address(key_file: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Not the key itself, also where it was wrong; who had none is an address."""
    with caplog.at_level(logging.INFO), serving(Scripted(), api_key_file=str(key_file)) as served:
        served.client.get("/v1/models", headers={"x-api-key": "alpha", "x-request-id": "one"})
        served.client.get("/v1/models", headers={"x-api-key": "wrong-key", "x-request-id": "two"})
        assert eventually(lambda: len(access_lines(caplog)) == 2)
    first, second = access_lines(caplog)
    assert first.startswith("GET /v1/models 200 ")
    assert first.endswith(" ms one line-1@127.0.0.1")
    assert second.startswith("GET /v1/models 401 ")
    assert second.endswith(" ms two 127.0.0.1")
    assert "alpha" not in of_ours(caplog)
    assert "wrong-key" not in of_ours(caplog)


FAILING = (
    ("/v1/chat/completions", CHAT | {"nonsense": SECRET}),
    ("/v1/chat/completions", CHAT | {"n": SECRET}),
    ("/v1/chat/completions", {"messages": [{"role": SECRET, "content": SECRET}]}),
    ("/v1/chat/completions", CHAT | {"response_format": {"type": "regex", "pattern": f"({SECRET}"}}),
    ("/v1/chat/completions", CHAT | {"grammar": SECRET}),
    ("/v1/completions", {"prompt": SECRET}),
    ("/v1/completions", {"prompt": SECRET, "stream": True}),
    ("/v1/embeddings", {"input": SECRET}),
    ("/tokenize", {"content": SECRET}),
    ("/apply-template", CHAT),
    ("/infill", {"input_prefix": SECRET, "input_suffix": ""}),
)


def ask_everything(served: Served) -> None:
    for path, body in FAILING:
        served.client.post(path, json=body)
    served.client.post("/v1/completions", content=f'{{"prompt": "{SECRET}'.encode())
    served.client.get(f"/v1/models?{SECRET}")


def test_no_prompt_is_ever_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Not at any level, not by any route, not in any error: also not in one of our own making."""
    supervisor = Scripted()

    def bug() -> None:
        raise ValueError("a bug")

    with caplog.at_level(logging.DEBUG), serving(supervisor) as served:
        ask_everything(served)
        supervisor.before_last = bug
        ask_everything(served)
        assert eventually(lambda: "/v1/models" in access_lines(caplog)[-1])
    assert "a bug" in caplog.text
    assert SECRET not in of_ours(caplog)
    assert SECRET not in "".join(str(r.exc_text) for r in caplog.records)


def test_prompts_are_logged_where_that_was_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    """The body as it came, with the request's id."""
    with caplog.at_level(logging.INFO), serving(Scripted(), log_prompts=True) as served:
        headers = {"x-request-id": "id-1"}
        served.client.post("/v1/chat/completions", json=CHAT, headers=headers)
    (line,) = [r.getMessage() for r in caplog.records if r.name == "edgeinfer.prompts"]
    assert line.startswith('id-1 {"messages"')
    assert SECRET in line


def test_a_large_body_is_not_logged_whole(caplog: pytest.LogCaptureFixture) -> None:
    """A request would be a log of megabytes."""
    with caplog.at_level(logging.INFO), serving(Scripted(), log_prompts=True) as served:
        served.chat("x" * 10**6)
    (line,) = [r.getMessage() for r in caplog.records if r.name == "edgeinfer.prompts"]
    assert len(line) < 70_000
    assert line.endswith(" bytes)")


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """What the daemon's own log set-up writes."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    found = io.StringIO()
    log.setup("info", found, {})
    yield found
    root.handlers[:] = before
    root.setLevel(level)
    logging.captureWarnings(False)


EVIL = "a%0aINFO%20edgeinfer.access:%20forged%0d%1b[2J%c2%85%e2%80%a8x"


def test_nobody_can_forge_a_line_of_the_log(written: io.StringIO) -> None:
    """By a path, a model's name, an id, a header, or a prompt that is logged: a line stays a line."""
    with serving(Scripted(), log_prompts=True) as served:
        served.client.get(f"/{EVIL}")
        served.client.get(f"/v1/models/{EVIL}")
        body = b'{"model": "a\nINFO b: forged", "prompt": "\x1b[2J\xe2\x80\xa8forged"}'
        served.client.post("/v1/completions", content=body, headers={"content-type": "application/json"})
        for name in ("x-request-id", "x-api-key", "user-agent"):
            served.client.get("/v1/models", headers=httpx.Headers({name: "a\x85 forged"}, encoding="latin-1"))
        assert eventually(lambda: written.getvalue().count("INFO edgeinfer.access: GET") == 5)
    lines = [line for line in written.getvalue().split("\n") if not line.startswith("INFO httpx: ")]
    starts = [line.partition(":")[0] for line in lines]
    assert sorted(starts) == ["", *["INFO edgeinfer.access"] * 6, "INFO edgeinfer.prompts"]
    assert not set(written.getvalue()) & {"\x1b", "\r", "\x85", "\u2028"}


def test_a_client_of_a_unix_socket_is_its_user(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whom the kernel knows."""
    import os
    import threading

    settings = Settings(uds=str(tmp_path / "s"))
    app = application(Scripted(), uds=settings.uds)
    server, sockets = Server(app.state.edgeinfer, lambda: app), bind(settings)
    thread = threading.Thread(target=server.run, args=(sockets,))
    with caplog.at_level(logging.INFO):
        thread.start()
        with httpx.Client(transport=httpx.HTTPTransport(uds=settings.uds), base_url="http://any") as client:
            assert client.get("/v1/models").status_code == 200
        server.should_exit = True
        thread.join()
    assert access_lines(caplog)[0].endswith(f" uid {os.getuid()}")


def test_every_answer_says_what_it_is_not(key_file: Path) -> None:
    """No type but the one it names, and no part of anybody else's page."""
    with serving(Scripted(), api_key_file=str(key_file)) as served:
        for path in ("/health", "/v1/models", "/nowhere"):
            headers = served.client.get(path).headers
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["cross-origin-resource-policy"] == "same-origin"
