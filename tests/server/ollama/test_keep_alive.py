"""`keep_alive` of a request, and requests that only load or unload."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

from edgeinfer.server.auth.keys import Key, digest
from edgeinfer.server.build import build_app
from edgeinfer.server.ollama.duration import parse_duration
from edgeinfer.server.state import AppState
from edgeinfer.serving.fake import FakeEngines
from edgeinfer.settings import Settings
from tests.support.ollama import HI, scripted, send
from tests.support.server import NoModels, Served, application, eventually, serving


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        (300, 300),
        (0, 0),
        ("0", 0),
        (2.5, 2.5),
        ("300", 300),
        ("5m", 300),
        ("1h30m", 5400),
        ("1.5h", 5400),
        ("250ms", 0.25),
        ("30s", 30),
        (-1, math.inf),
        ("-1", math.inf),
        ("-1m", math.inf),
        ("-1s", math.inf),
    ],
)
def test_durations_are_seconds_or_go_s(written: float | str, seconds: float) -> None:
    """Any negative one is for ever."""
    assert seconds == parse_duration(written)


@pytest.mark.parametrize("written", ["", "soon", "5 m", "m", "5x", "1h-5m", "1" * 100, None, [], math.nan])
def test_anything_else_is_none(written: object) -> None:
    with pytest.raises(ValueError, match="duration"):
        parse_duration(written)


def left(served: Served) -> float | None:
    """Seconds until the model expires; None where it is not loaded."""
    models = served.client.get("/api/ps").json()["models"]
    if not models:
        return None
    expires = datetime.fromisoformat(models[0]["expires_at"])
    return (expires - datetime.now(timezone.utc)) / timedelta(seconds=1)


def test_a_request_sets_how_long_its_model_stays() -> None:
    """Until another one says otherwise; one that says nothing changes nothing."""
    with serving(scripted("Hi")) as served:
        assert (left(served) or 0) > 1e9  # the default model stays, if nobody says otherwise
        send(served, "/api/chat", messages=HI, keep_alive="5m")
        assert 290 < (left(served) or 0) <= 300
        send(served, "/api/generate", prompt="Hi")
        assert 290 < (left(served) or 0) <= 300
        send(served, "/api/generate", prompt="Hi", keep_alive=-1)
        assert (left(served) or 0) > 1e9
        send(served, "/api/embed", input="Hi", keep_alive=60)
        assert 50 < (left(served) or 0) <= 60


def reloadable() -> FastAPI:
    """An app whose model can be loaded again: each time it has a new engine."""
    engines = FakeEngines({"scripted": lambda: scripted("Hi")})
    settings = Settings(model="scripted", port=0, drain_timeout=1.0)
    return build_app(AppState(settings, {}, engines, NoModels, "scripted"), warm_up=False)


def test_without_a_prompt_a_model_is_loaded_or_unloaded() -> None:
    """As clients ask for it: with nothing to answer, and 0."""
    with serving(scripted("Hi"), reloadable()) as served:
        unloaded = send(served, "/api/generate", prompt="", keep_alive=0).json()
        assert ("unload", True, "") == (unloaded["done_reason"], unloaded["done"], unloaded["response"])
        assert left(served) is None
        loaded = send(served, "/api/chat", messages=[]).json()
        assert ("load", {"role": "assistant", "content": ""}) == (loaded["done_reason"], loaded["message"])
        assert left(served) is not None
        assert "unload" == send(served, "/api/chat", messages=[], keep_alive="0s").json()["done_reason"]
        assert left(served) is None
        send(served, "/api/generate", keep_alive=120)
        assert 110 < (left(served) or 0) <= 120


def test_a_model_that_is_not_kept_goes_after_its_answer() -> None:
    with serving(scripted("Hi"), reloadable()) as served:
        assert 200 == send(served, "/api/chat", messages=HI, keep_alive=0).status_code
        assert eventually(lambda: left(served) is None)


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Served]:
    """A daemon with two keys, of which one is an admin's."""
    keys = tmp_path / "keys"
    lines = [Key("app", digest(b"app")), Key("boss", digest(b"boss"), admin=True)]
    keys.write_text("".join(f"{key.line()}\n" for key in lines))
    keys.chmod(0o600)
    engine = scripted("Hi")
    with serving(engine, application(engine, api_key_file=str(keys))) as served:
        yield served


def as_key(served: Served, key: str) -> Served:
    served.client.headers["authorization"] = f"Bearer {key}"
    return served


def test_only_an_admin_key_decides_how_long_models_stay(guarded: Served) -> None:
    """Others get their answers: clients send the field without being asked. Unloading is refused."""
    served = as_key(guarded, "app")
    assert 200 == send(served, "/api/chat", messages=HI, keep_alive=0).status_code
    assert 200 == send(served, "/api/generate", keep_alive="1s").status_code
    assert (left(served) or 0) > 1e9
    refused = send(served, "/api/generate", prompt="", keep_alive=0)
    assert (403, True) == (refused.status_code, "may not unload models" in refused.json()["error"])
    served = as_key(guarded, "boss")
    assert 200 == send(served, "/api/chat", messages=HI, keep_alive="5m").status_code
    assert 290 < (left(served) or 0) <= 300
    assert 200 == send(served, "/api/generate", prompt="", keep_alive=0).status_code
    assert left(served) is None


@pytest.mark.parametrize(
    ("path", "method", "fields"),
    [("/api/pull", "POST", {"model": "qwen3-0.6b"}), ("/api/delete", "DELETE", {"model": "scripted"})],
)
def test_only_an_admin_key_downloads_and_deletes(
    guarded: Served, path: str, method: str, fields: dict[str, Any]
) -> None:
    refused = send(as_key(guarded, "app"), path, method=method, **fields)
    assert (403, ["error"]) == (refused.status_code, list(refused.json()))
