"""Programs that know llama-server find here what they look for, with the requests that they send."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest

from edgeinfer.inference.fake import FakeEngineClient
from tests.support.registry import HeldEngineClient
from tests.support.server import Served
from tests.support.several import engine, engines, several, state_of


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with several() as daemon:
        yield daemon


def zed_get(served: Served, path: str) -> Any:
    response = served.client.get(path, headers={"Accept": "application/json"})
    assert response.is_success
    return response.json()


def test_zed_discovers_models_and_what_they_can_do(served: Served) -> None:
    """It lists them, and asks for the properties of each one that is loaded, under its encoded name."""
    entries = zed_get(served, "/v1/models")["data"]
    assert all(isinstance(entry["status"]["value"], str) for entry in entries), "router mode"
    assert {"text"} == {m for entry in entries for m in entry["architecture"]["input_modalities"]}
    loaded = [entry["id"] for entry in entries if entry["status"]["value"] == "loaded"]
    assert ["first"] == loaded
    props = zed_get(served, f"/props?model={quote(loaded[0], safe='-._~')}")
    caps = props["chat_template_caps"]
    assert 4096 == props["default_generation_settings"]["n_ctx"]
    assert caps["supports_tool_calls"] or caps["supports_tools"]
    assert props["modalities"]["vision"] is False


def test_zed_chats(served: Served) -> None:
    """Every line of data but [DONE] is a chunk with a model, an object and choices that have an index and a delta."""
    body = {
        "model": "first",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}],
        "stream": True,
        "max_tokens": 64,
        "stop": [],
        "temperature": 1.0,
        "stream_options": {"include_usage": True},
    }
    response = served.client.post("/v1/chat/completions", json=body)
    lines = [line.removeprefix("data: ") for line in response.text.splitlines() if line.startswith("data: ")]
    assert "[DONE]" == lines.pop()
    chunks = [json.loads(line) for line in lines]
    assert all({"model", "object", "choices"} <= chunk.keys() for chunk in chunks)
    texts = [choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"]]
    assert "Hello" == "".join(texts)
    assert {"prompt_tokens", "completion_tokens", "total_tokens"} <= chunks[-1]["usage"].keys()


def test_crush_reads_whole_numbers_from_the_list(served: Served) -> None:
    """The context as it is loaded, or else the one that the model was trained for."""
    entries = served.client.get("/v1/models", headers={"Authorization": "Bearer none"}).json()["data"]
    metas = {entry["id"]: entry.get("meta", {}) for entry in entries}
    for meta in metas.values():
        figures = [meta.get(name, 0) for name in ("n_ctx", "n_ctx_train", "n_params", "size")]
        assert {int} == set(map(type, figures))
    assert 4096 == metas["first"]["n_ctx"]
    assert 0 < metas["nano"]["n_ctx"] <= metas["nano"]["n_ctx_train"]


def test_open_webui_loads_and_unloads(served: Served) -> None:
    """From its list of models. It strips /v1 from the URL, and tells by the state what it may offer."""

    def offered() -> dict[str, bool]:
        states = {"loaded": True, "sleeping": True, "loading": False, "unloaded": False}
        entries = served.client.get("/models").json()["data"]
        return {entry["id"]: states[entry["status"]["value"]] for entry in entries}

    headers = {"Content-Type": "application/json", "Authorization": "Bearer sk-1"}
    assert (True, False) == (offered()["first"], offered()["nano"])
    for path, is_loaded in (("/models/load", True), ("/models/unload", False)):
        response = served.client.post(path, json={"model": "nano"}, headers=headers)
        assert {"success": True} == response.json()
        assert is_loaded == offered()["nano"]


@pytest.mark.parametrize("path", ["/completion", "/infill"])
def test_a_client_may_ask_not_to_wait_for_a_model(path: str) -> None:
    """With what it does in llama-server: an error that says whether waiting will help."""

    def held(name: str) -> FakeEngineClient:
        return HeldEngineClient(name) if name == "nano" else engine(name)

    body = {"model": "nano", "prompt": "x", "input_prefix": "a", "input_suffix": "b"}
    if path == "/completion":
        del body["input_prefix"], body["input_suffix"]
    with several(engines(held), load_timeout=0.5) as daemon:
        response = daemon.client.post(f"{path}?autoload=false", json=body)
        message = response.json()["error"]["message"]
        assert (400, True) == (response.status_code, message.startswith("model is not loaded"))
        assert "unloaded" == state_of(daemon, "nano")
        daemon.client.post("/models/load", json={"model": "nano"})
        found = daemon.client.post(f"{path}?autoload=0", json=body).json()["error"]
        assert (503, "Loading model", "unavailable_error") == (found["code"], found["message"], found["type"])
        body["model"] = "first"
        assert daemon.client.post(f"{path}?autoload=false", json=body).status_code in (200, 400)
