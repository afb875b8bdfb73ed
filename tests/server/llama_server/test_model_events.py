"""Clients load, download and delete models as in llama-server's router, and watch what becomes of it."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from edgeinfer.errors import DownloadFailed
from edgeinfer.server.auth.keys import Key, digest
from edgeinfer.server.build import build_app
from edgeinfer.server.state import AppState
from edgeinfer.serving.downloads import ModelDownloads, PullProgress
from edgeinfer.serving.fake import FakeEngines
from edgeinfer.settings import Settings
from tests.support.server import Served, eventually, serving
from tests.support.several import engine, engines, several, state_of


class ScriptedPull:
    """Downloads nothing: two steps, each when `go` is released, then the end or an error."""

    def __init__(self) -> None:
        self.go = threading.Semaphore(0)
        self.ended = threading.Event()

    def key(self, name: str) -> str:
        return name

    def check(self) -> None: ...

    async def pull(self, name: str) -> AsyncGenerator[PullProgress, None]:
        try:
            for done in (50, 100):
                while not self.go.acquire(blocking=False):  # noqa: ASYNC110  # a thread releases it
                    await asyncio.sleep(0.01)
                yield PullProgress("downloading", None, 100, done)
            if name == "bad/model":
                raise DownloadFailed("it is gone")
        finally:
            self.ended.set()


class Watched:
    """A daemon, its downloads, and the events of GET /models/sse so far."""

    def __init__(self, served: Served, puller: ScriptedPull, state: AppState, fakes: FakeEngines) -> None:
        self.served = served
        self.puller = puller
        self.state = state
        self.fakes = fakes
        self.events: list[Any] = []
        self.connected = threading.Event()

    def read(self) -> None:
        with httpx.stream("GET", f"{self.served.url}/models/sse", timeout=30) as response:
            for line in response.iter_lines():
                if line.startswith("data: "):
                    self.events.append(json.loads(line.removeprefix("data: ")))
                elif line == ": connected":
                    self.connected.set()

    def post(self, path: str, model: str) -> httpx.Response:
        return self.served.client.post(path, json={"model": model})

    def has(self, *expected: Any) -> bool:
        """Whether these events come, in this order."""

        def found() -> bool:
            rest = iter(self.events)
            return all(any(event == wanted for event in rest) for wanted in expected)

        return eventually(found, 10)


@contextmanager
def watched() -> Iterator[Watched]:
    fakes = engines()
    state = AppState(Settings(model="first", port=0, drain_timeout=1.0), {}, fakes, lambda _: fakes, "first")
    puller = ScriptedPull()
    state.downloads = ModelDownloads(puller)
    with serving(engine("first"), build_app(state, warm_up=False)) as daemon:
        assert eventually(lambda: state_of(daemon, "first") == "ready")
        found = Watched(daemon, puller, state, fakes)
        reader = threading.Thread(target=found.read)
        reader.start()
        assert found.connected.wait(10)
        yield found
    reader.join(10)  # the service has stopped, and so has the stream
    assert not reader.is_alive()


def status(model: str, value: str, **more: Any) -> dict[str, Any]:
    return {"model": model, "event": "status_change", "data": {"status": value, **more}}


def test_loading_and_unloading_is_told() -> None:
    """In the words that GET /models has."""
    with watched() as daemon:
        assert {"success": True} == daemon.post("/models/load", "nano").json()
        assert daemon.has(status("nano", "loaded"))
        assert {"success": True} == daemon.post("/models/unload", "nano").json()
        assert daemon.has(status("nano", "loaded"), status("nano", "unloaded", exit_code=0))


def test_a_failed_load_is_told_each_time() -> None:
    """By an exit code that is not 0."""
    with watched() as daemon:
        assert 500 == daemon.post("/models/load", "broken").status_code
        assert daemon.has(status("broken", "unloaded", exit_code=1))


def test_a_download_is_told_as_it_goes_on() -> None:
    """The request for it does not wait."""
    with watched() as daemon:
        assert {"success": True} == daemon.post("/models", "some/model").json()
        daemon.puller.go.release()
        progress = {"progress": {"some/model": {"done": 50, "total": 100}}}
        step = {"model": "some/model", "event": "download_progress", "data": progress}
        assert daemon.has(step)
        listed = daemon.served.client.get("/models").json()["data"][-1]
        assert ("some/model", "downloading", progress["progress"]) == (
            listed["id"],
            listed["status"]["value"],
            listed["status"]["progress"],
        )
        assert "some/model" not in daemon.served.client.get("/v1/models").text, "nobody can ask it yet"
        daemon.puller.go.release()
        assert daemon.has(step, {"model": "some/model", "event": "download_finished", "data": {}})


def test_a_download_that_fails_says_so() -> None:
    """The log has the reason."""
    with watched() as daemon:
        assert {"success": True} == daemon.post("/models", "bad/model").json()
        daemon.puller.go.release(2)
        assert daemon.has({"model": "bad/model", "event": "download_failed", "data": {}})


@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_a_download_can_be_cancelled(method: str) -> None:
    """As llama-server has it: by unloading the model, or by deleting it."""
    with watched() as daemon:
        daemon.post("/models", "some/model")
        daemon.puller.go.release()
        assert eventually(lambda: daemon.events)
        if method == "POST":
            response = daemon.post("/models/unload", "some/model")
        else:
            response = daemon.served.client.delete("/models", params={"model": "some/model"})
        assert {"success": True} == response.json()
        assert daemon.puller.ended.wait(10)
        assert daemon.has({"model": "some/model", "event": "download_failed", "data": {}})


def test_a_model_that_is_there_is_not_downloaded_again() -> None:
    """llama-server refuses it too."""
    with watched() as daemon:
        response = daemon.post("/models", "nano")
        assert (400, "model 'nano' already exists") == (
            response.status_code,
            response.json()["error"]["message"],
        )


def test_a_model_that_appears_or_goes_is_told() -> None:
    """A list that has grown is to be read again."""
    with watched() as daemon:
        fakes = daemon.fakes
        before = fakes.clients
        fakes.clients = {**before, "new": before["nano"]}
        assert daemon.has({"model": "*", "event": "models_reload"})
        fakes.clients = before
        assert daemon.has({"model": "*", "event": "models_reload"}, {"model": "new", "event": "model_remove"})


def test_a_client_that_goes_leaves_nothing_behind() -> None:
    """Its subscription to downloads ends once what is sent to it does not arrive."""
    with watched() as daemon:
        with daemon.served.client.stream("GET", "/models/sse") as response:
            assert response.headers["content-type"].startswith("text/event-stream")
            assert eventually(lambda: 2 == len(daemon.state.downloads.listeners))
        told: list[Any] = []
        for path, value in (("/models/load", "loaded"), ("/models/unload", "unloaded")) * 2:
            daemon.post(path, "nano")
            told.append(status("nano", value, **({"exit_code": 0} if value == "unloaded" else {})))
            assert daemon.has(*told)
        assert eventually(lambda: 1 == len(daemon.state.downloads.listeners))


@pytest.mark.parametrize("query", ["", "?model=", "?model=nothing", "?model=first", "?model=nano"])
def test_what_cannot_be_deleted_is_refused(query: str) -> None:
    """No name, no such model, the default one, and one that no download made."""
    with several() as served:
        response = served.client.delete(f"/models{query}")
        assert response.status_code in (400, 404)
        assert "invalid_request_error" == response.json()["error"]["type"] or 404 == response.status_code
        assert "model" == response.json()["error"]["param"]


def test_only_an_admin_may_change_the_models(tmp_path: Path) -> None:
    """Everybody with a key may watch them."""
    keys = tmp_path / "keys"
    keys.write_text(Key("user", digest(b"u")).line() + "\n")
    keys.chmod(0o600)
    fakes = engines()
    settings = Settings(model="first", port=0, api_key_file=str(keys))
    state = AppState(settings, {}, fakes, lambda _: fakes, "first")
    with serving(engine("first"), build_app(state, warm_up=False)) as served:
        served.client.headers["x-api-key"] = "u"
        assert 403 == served.client.post("/models", json={"model": "some/model"}).status_code
        assert 403 == served.client.delete("/models?model=nano").status_code
        with served.client.stream("GET", "/models/sse") as response:
            assert 200 == response.status_code
