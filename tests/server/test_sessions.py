"""X-Session-Id and prompt_cache_key: a conversation stays in the cache beside its caller's other requests."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.daemon import edgeinfer
from tests.support.server import Scripted, eventually, serving

CHAT = "This is a long conversation about the sea, the wind and the ships that sailed on it. "
Cached = Callable[..., int]


@pytest.fixture
def cached(tmp_path: Path) -> Iterator[Cached]:
    """A daemon; a call gives the tokens of a prompt that its response says were cached."""
    keys = tmp_path / "keys"
    keys.write_text("alice\nbob\n")
    keys.chmod(0o600)
    options = ("--model", "fake", "--ctx", "512", "--parallel", "2", "--layout", "streams", "--port", "0",
               "--ram-cache-mb", "0", "--api-key-file", str(keys))  # fmt: skip
    with edgeinfer(tmp_path, *options) as process, httpx.Client(timeout=60) as client:

        def ask(
            prompt: str, key: str = "alice", session: str = "", *, as_response: bool = False, **fields: Any
        ) -> int:
            names = ("responses", "input", "max_output_tokens", "input_tokens_details")
            path, text, limit, details = (
                names if as_response else ("completions", "prompt", "max_tokens", "prompt_tokens_details")
            )
            headers = {"x-api-key": key} | ({"x-session-id": session} if session else {})
            body = {text: prompt, limit: 1, **fields}
            response = client.post(f"{process.url()}/v1/{path}", json=body, headers=headers)
            assert response.status_code == 200, response.text
            value: int = response.json()["usage"][details]["cached_tokens"]
            return value

        yield ask


@pytest.mark.parametrize(
    "named",
    [
        {"session": "c1"},
        {"prompt_cache_key": "c1"},
        {"prompt_cache_key": "c1", "as_response": True, "store": False},
    ],
)
def test_a_session_is_found_again_after_many_other_requests(cached: Cached, named: dict[str, Any]) -> None:
    """Titles, tags and suggestions that a chat program asks for do not cost it the conversation."""
    cached(CHAT, **named)
    for n in range(8):
        cached(f"{n} is a number, and this is something else.")
    assert cached(CHAT + "And then?", **named) > len(CHAT)
    for n in range(8):
        cached(f"{n} is a number, and this is something else.", session=f"one of many {n}")
    assert cached(CHAT + "And then?", **named) == 0  # other sessions are worth as much


def test_without_a_session_the_oldest_prefix_goes(cached: Cached) -> None:
    """What the test above would see if nothing were protected."""
    cached(CHAT)
    for n in range(8):
        cached(f"{n} is a number, and this is something else.")
    assert cached(CHAT + "And then?") == 0


def test_a_session_of_the_same_name_belongs_to_its_key(cached: Cached) -> None:
    """Neither do keys see each other's prefixes, nor does one protect its own from the other."""
    cached(CHAT, session="c1")
    assert cached(CHAT, key="bob", session="c1") == 0
    for n in range(8):
        cached(f"{n} is a number, and this is something else.", key="bob")
    assert cached(CHAT, session="c1") == 0


def test_the_log_has_a_session_s_hash_only(caplog: pytest.LogCaptureFixture) -> None:
    """Its name may be a secret of the client's."""
    with serving(Scripted()) as served, caplog.at_level(logging.DEBUG):
        for _ in range(2):
            served.client.get("/v1/models", headers={"x-session-id": "my diary"})
        served.client.get("/v1/models", headers={"x-session-id": "x" * 8000})
        assert eventually(lambda: len(lines(caplog)) == 3)
    one, same, other = (line.partition(" session ")[2] for line in lines(caplog))
    assert one == same != other
    assert len(one) == len(other) == 12
    assert not [line for line in lines(caplog) if "diary" in line]


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "edgeinfer.access"]
