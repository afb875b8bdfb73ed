"""POST /api/pull and DELETE /api/delete, of a real daemon and a hub on this machine."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from edgeinfer.store.store import Store
from tests.support.daemon import edgeinfer
from tests.support.faulty_hub import REPO, FaultyHub, serving, stall
from tests.support.processes import children
from tests.support.server import eventually

FILE = "Nano-Q8_0.gguf"
NAME = f"hf.co/{REPO}:Q8_0"


@pytest.fixture(scope="module")
def hub(model_file: Path) -> Iterator[FaultyHub]:
    with serving(FaultyHub({FILE: model_file.read_bytes()})) as server:
        yield server


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("daemon")


@pytest.fixture
def store(folder: Path) -> Store:
    return Store(folder / "store")


@pytest.fixture(scope="module")
def client(folder: Path, hub: FaultyHub) -> Iterator[httpx.Client]:
    """Of a daemon with the bundled model and an empty store."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_ENDPOINT", hub.url)
        patch.setenv("HF_TOKEN", "hf_secret")
        options = ("--port", "0", "--ctx", "256", "--store", str(folder / "store"))
        with (
            edgeinfer(folder, *options) as process,
            httpx.Client(base_url=process.url(), timeout=60) as client,
        ):
            yield client


def pull(client: httpx.Client, name: str, *, stream: bool = True) -> httpx.Response:
    return client.post("/api/pull", content=json.dumps({"model": name, "stream": stream}))


def names(client: httpx.Client) -> list[str]:
    return [model["name"] for model in client.get("/api/tags").json()["models"]]


def delete(client: httpx.Client, name: str) -> httpx.Response:
    return client.request("DELETE", "/api/delete", content=json.dumps({"model": name}))


def test_a_model_is_pulled_used_and_deleted(client: httpx.Client, hub: FaultyHub, store: Store) -> None:
    """The lines tell how far it is; nothing has to be restarted in between."""
    response = pull(client, NAME)
    assert "application/x-ndjson" == response.headers["content-type"]
    *steps, last = map(json.loads, response.text.splitlines())
    assert {"status": "success"} == last
    sizes = [step for step in steps if "total" in step]
    assert {f"sha256:{hub.sha256(FILE)}"} == {step["digest"] for step in sizes}
    assert sizes[-1]["completed"] == sizes[-1]["total"] == len(hub.files[FILE])

    (name,) = set(names(client)) - {"edgeinfer-nano:latest"}
    body = {"model": name, "prompt": "Hello", "stream": False, "options": {"num_predict": 4}}
    assert 200 == client.post("/api/generate", json=body).status_code
    assert name in [model["name"] for model in client.get("/api/ps").json()["models"]]

    deleted = delete(client, name)
    assert (200, b"") == (deleted.status_code, deleted.content)
    assert ["edgeinfer-nano:latest"] == names(client)
    assert name not in [model["name"] for model in client.get("/api/ps").json()["models"]]
    assert ([], []) == (store.recorded(), list((store.root / "models").rglob("*.gguf")))
    assert 404 == delete(client, name).status_code

    assert {"status": "success"} == pull(client, NAME, stream=False).json()
    assert name in names(client)
    assert 200 == delete(client, name).status_code


def test_a_download_ends_with_its_client_and_continues_with_the_next(
    client: httpx.Client, hub: FaultyHub, store: Store
) -> None:
    """What has been received is not received again."""
    gone = threading.Event()
    hub.faults = [stall(0.5, gone)]
    content = json.dumps({"name": NAME})
    with client.stream("POST", "/api/pull", content=content) as response:
        for line in response.iter_lines():
            if json.loads(line).get("completed"):
                break
    daemon = client.get("/status").json()["pid"]
    assert eventually(lambda: not children(" pull ", daemon), 30)
    gone.set()
    partials = [path for path in (store.root / "incoming").rglob("*.part") if path.stat().st_size]
    assert 1 == len(partials)
    assert {"status": "success"} == pull(client, NAME, stream=False).json()
    assert any("range" in request.headers for request in hub.file_requests)
    (name,) = set(names(client)) - {"edgeinfer-nano:latest"}
    assert 200 == delete(client, name).status_code


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("no-such-model", 404),
        ("hf.co/someone/nothing-GGUF", 404),
        (f"hf.co/{REPO}:Q4_K_M", 404),
        ("--help", 400),
        ("/etc/passwd", 400),
        ("https://evil.example/x.gguf", 400),
        ("../x", 400),
        ("hf.co/a/b:..", 400),
        ("  ", 400),
    ],
)
def test_what_cannot_be_pulled_is_said_with_a_status(client: httpx.Client, name: str, status: int) -> None:
    """Before the first line of the stream."""
    response = pull(client, name)
    assert (status, ["error"]) == (response.status_code, list(response.json()))


def test_what_is_there_without_a_download_needs_none(client: httpx.Client, hub: FaultyHub) -> None:
    """Home Assistant pulls whatever it is told to use."""
    before = len(hub.requests)
    assert '{"status":"success"}\n' == pull(client, "edgeinfer-nano:latest").text
    assert before == len(hub.requests)


def test_the_default_model_stays(client: httpx.Client) -> None:
    response = delete(client, "edgeinfer-nano:latest")
    assert (400, True) == (response.status_code, "default model" in response.json()["error"])
