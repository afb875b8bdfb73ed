"""Nothing tells one key's holder how another's prompts begin."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.daemon import edgeinfer
from tests.support.server import Scripted, error, serving

SECRET = "The code of the door is 271828. It must never be told to anybody else. "
Cached = Callable[..., int]


@contextmanager
def daemon(tmp_path: Path, *options: str, keys: str = "") -> Iterator[Cached]:
    """A daemon; a call gives the tokens of a prompt that its response says were cached."""
    if keys:
        file = tmp_path / "keys"
        file.write_text(keys)
        file.chmod(0o600)
        options = (*options, "--api-key-file", str(file))
    model = ("--model", "fake", "--ctx", "1024", "--parallel", "2", "--layout", "unified", "--port", "0")
    with edgeinfer(tmp_path, *model, *options) as process, httpx.Client(timeout=60) as client:
        url = f"{process.url()}/v1/completions"

        def cached(key: str = "", prompt: str = SECRET, **fields: Any) -> int:
            body = {"prompt": prompt, "max_tokens": 2, **fields}
            response = client.post(url, json=body, headers={"x-api-key": key} if key else {})
            assert response.status_code == 200, response.text
            value: int = response.json()["usage"]["prompt_tokens_details"]["cached_tokens"]
            return value

        yield cached


def test_cached_tokens_say_nothing_about_another_key(tmp_path: Path) -> None:
    """A key's own prompts are found in the cache, and with the same salt those of its group."""
    with daemon(tmp_path, keys="alice\nbob\n") as cached:
        assert 0 == cached("alice")
        assert 0 == cached("bob", SECRET)
        assert 1 + len(SECRET) == cached("alice", SECRET + "More")  # with the BOS token
        assert 0 == cached("alice", cache_salt="team 7c2f")
        assert 0 < cached("bob", cache_salt="team 7c2f")
        assert 0 == cached("bob", cache_salt="team 7c2e")


def test_keys_may_share_prefixes(tmp_path: Path) -> None:
    """Where the operator trusts their holders."""
    with daemon(tmp_path, "--share-prefixes", keys="alice\nbob\n") as cached:
        assert 0 == cached("alice")
        assert 1 + len(SECRET) == cached("bob", SECRET + "More")


def test_a_signal_to_the_whole_group_loses_no_prefix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker gets it too, and has yet to save what it holds."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    found = []
    for _ in range(2):
        with edgeinfer(tmp_path, "--port", "0", "--prefix-cache-mb", "20") as process:
            body = {"prompt": SECRET * 4, "max_tokens": 1}
            response = httpx.post(f"{process.url()}/v1/completions", json=body, timeout=60)
            found.append(response.json()["usage"]["prompt_tokens_details"]["cached_tokens"])
            assert process.end_group() == 0
    assert found[0] == 0
    assert found[1] > 50


def test_prefixes_are_shared_without_keys(tmp_path: Path) -> None:
    """All callers are one to the cache; a salt keeps a request apart."""
    with daemon(tmp_path) as cached:
        assert 0 == cached()
        assert 0 < cached()
        assert 0 == cached(cache_salt="mine")
        assert 0 < cached(cache_salt="mine")


@pytest.mark.parametrize("salt", ["", "x" * 1025, 7])
def test_salt_is_a_text_of_bounded_length(salt: Any) -> None:
    """An empty one would keep nothing apart."""
    with serving(Scripted()) as served:
        response = served.complete(cache_salt=salt)
        assert (400, "cache_salt") == (response.status_code, error(response)["param"])
