"""GET /props, /slots and their neighbours tell clients of llama-server what a model can do, without loading it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest

from edgeinfer.inference.fake import FakeEngineClient
from edgeinfer.server.build import build_app
from edgeinfer.server.state import AppState
from edgeinfer.settings import Settings
from edgeinfer.store.lookup import bundled_file
from tests.support.registry import HeldEngineClient
from tests.support.server import TEMPLATE, Scripted, Served, eventually, serving
from tests.support.several import engine, engines, several, state_of


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with several() as daemon:
        yield daemon


def props(served: Served, query: str = "") -> dict[str, Any]:
    response = served.client.get(f"/props{query}")
    assert 200 == response.status_code, response.text
    found: dict[str, Any] = response.json()
    return found


def test_the_loaded_model_has_its_context_its_template_and_what_it_can_do(served: Served) -> None:
    """Zed and llama-server's own page read these."""
    found = props(served)
    assert (4096, 8) == (found["default_generation_settings"]["n_ctx"], found["total_slots"])
    assert ("/models/first.gguf", TEMPLATE) == (found["model_path"], found["chat_template"])
    assert not any(found["modalities"].values())
    caps = found["chat_template_caps"]
    assert caps["supports_tools"]
    assert caps["supports_tool_calls"]
    assert caps["supports_system_role"]
    assert ("first", False) == (found["model_alias"], found["is_sleeping"])
    assert found["build_info"].startswith("edgeinfer-")


def test_the_default_settings_are_those_of_an_answer_whose_request_says_nothing(served: Served) -> None:
    """As the model's file recommends them, under llama-server's names."""
    params = props(served)["default_generation_settings"]["params"]
    assert (0.6, 20, 0.95, -1) == tuple(params[k] for k in ("temperature", "top_k", "top_p", "n_predict"))
    assert {"dry_multiplier", "xtc_probability", "mirostat", "samplers", "speculative.types"} <= params.keys()


@pytest.mark.parametrize("path", ["/props?model=nano", "/slots?model=nano"])
def test_asking_about_a_model_does_not_load_it(served: Served, path: str) -> None:
    """Not even if its file is there."""
    assert 200 == served.client.get(path).status_code
    assert "unloaded" == state_of(served, "nano")


def test_a_model_that_is_not_loaded_has_what_its_file_says(served: Served) -> None:
    """It sleeps, and nothing is known of what its template can do."""
    found = props(served, "?model=nano")
    assert found["is_sleeping"]
    assert found["model_path"].endswith(".gguf")
    assert "{%" in found["chat_template"]
    assert 0 < found["default_generation_settings"]["n_ctx"]
    assert "chat_template_caps" not in found
    assert 0 == props(served, "?model=gone")["default_generation_settings"]["n_ctx"]


def test_a_default_model_that_no_setting_names_has_its_file_as_well() -> None:
    """As it is with the bundled model, also after it has been unloaded."""
    fakes = engines()
    state = AppState(Settings(port=0, drain_timeout=1.0), {}, fakes, lambda _: fakes, "nano")
    with serving(engine("nano"), build_app(state, warm_up=False)) as daemon:
        assert eventually(lambda: state_of(daemon, "nano") == "ready")
        assert 200 == daemon.client.post("/models/unload", json={"model": "default"}).status_code
        found = props(daemon)
    assert found["is_sleeping"]
    assert found["model_path"] == bundled_file()
    assert "{%" in found["chat_template"]


def test_a_model_is_named_as_in_every_request(served: Served) -> None:
    """Clients encode the slashes and colons of names. One that there is not gets llama-server's error."""
    assert props(served) == props(served, "?model=") == props(served, "?model=default")
    response = served.client.get(f"/props?model={quote('some/model:Q4_K_M', safe='')}")
    error = response.json()["error"]
    assert (404, 404, "not_found_error") == (response.status_code, error["code"], error["type"])
    assert "model_not_found" == error["reason"]


def test_while_a_model_is_loading_its_properties_are_not_there_yet() -> None:
    """llama-server's clients wait for this error to go."""

    def held(name: str) -> FakeEngineClient:
        return HeldEngineClient(name) if name == "nano" else engine(name)

    with several(engines(held), load_timeout=0.5) as daemon:
        # The load goes on although the request has not waited for it.
        assert 503 == daemon.client.post("/models/load", json={"model": "nano"}).status_code
        response = daemon.client.get("/props?model=nano")
        error = response.json()["error"]
        assert (503, 503, "Loading model", "unavailable_error") == (
            response.status_code,
            error["code"],
            error["message"],
            error["type"],
        )


@pytest.mark.parametrize("path", ["/props", "/slots/0?action=save", "/lora-adapters"])
def test_what_only_llama_server_can_change_is_refused_clearly(served: Served, path: str) -> None:
    """With what to do instead."""
    response = served.client.post(path, json={})
    error = response.json()["error"]
    assert (501, "not_supported_error") == (response.status_code, error["type"])
    assert error["hint"] in error["message"]


def test_there_are_no_adapters(served: Served) -> None:
    """An empty list, which clients take for what it is."""
    assert [] == served.client.get("/lora-adapters").json()


def test_slots_say_how_many_answers_run_and_nothing_of_what_is_in_them() -> None:
    """Callers do not see each other's prompts."""
    model = Scripted("a", "b")
    with serving(model) as daemon:
        assert 200 == daemon.complete("secret").status_code
        idle = daemon.client.get("/slots").json()
        assert [{"id": 0, "n_ctx": 4096, "is_processing": False, "speculative": False}] == idle[:1]
        assert 8 == len(idle)
        model.running = 8
        assert all(slot["is_processing"] for slot in daemon.client.get("/slots").json())
        response = daemon.client.get("/slots?fail_on_no_slot=1")
        assert (503, "no slot available") == (response.status_code, response.json()["error"]["message"])
        model.running = 0
        assert 200 == daemon.client.get("/slots?fail_on_no_slot=1").status_code


def test_the_tokens_of_a_conversation_can_be_counted(served: Served) -> None:
    """As llama-server counts them, with the template. The fake engine has a token for each byte, and one to begin."""
    body = {"messages": [{"role": "user", "content": "Hi"}]}
    prompt = served.client.post("/apply-template", json=body).json()["prompt"]
    for path in ("/v1/chat/completions/input_tokens", "/chat/completions/input_tokens"):
        counted = served.client.post(path, json=body).json()
        assert {"object": "response.input_tokens", "input_tokens": len(prompt) + 1} == counted


def test_health_has_both_of_its_paths(served: Served) -> None:
    """The daemon is well although a model may be loading: its clients' requests wait for that."""
    assert {"status": "ok"} == served.client.get("/health").json() == served.client.get("/v1/health").json()
    assert eventually(lambda: state_of(served, "first") == "ready")
