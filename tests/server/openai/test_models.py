"""GET /v1/models lists every model with what llama-server's clients look for, loaded or not."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edgeinfer.store.lookup import bundled_file
from tests.support.server import Served
from tests.support.several import engines, several


@pytest.fixture
def served() -> Iterator[Served]:
    """Five models: one is loaded, one has a file that can be read, the others have none."""
    with several(models={"nano": {"aliases": ["tiny", "small"]}}) as daemon:
        yield daemon


def cards(served: Served, path: str = "/v1/models") -> dict[str, dict[str, Any]]:
    listed = served.client.get(path).json()
    assert "list" == listed["object"]
    return {card["id"]: card for card in listed["data"]}


def test_a_loaded_model_has_what_clients_look_for(served: Served) -> None:
    """Figures, modalities, and a state by which they recognise a server that can load others."""
    card = cards(served)["first"]
    assert ("model", "llamacpp") == (card["object"], card["owned_by"])
    assert {"value": "loaded", "state": "ready", "args": ["--ctx-size", "4096", "--parallel", "8"]} == card[
        "status"
    ]
    assert {"input_modalities": ["text"], "output_modalities": ["text"]} == card["architecture"]
    figures = {"n_ctx": 4096, "n_ctx_train": 4096, "n_params": 1, "size": 4, "n_embd": 4, "n_vocab": 258}
    assert figures.items() <= card["meta"].items()
    assert ["completion"] == card["capabilities"]


def test_a_model_that_is_not_loaded_has_the_figures_of_its_file(served: Served) -> None:
    """Its context is the least that it will have."""
    card = cards(served)["nano"]
    assert {"value": "unloaded", "state": "unloaded", "args": []} == card["status"]
    assert ["tiny", "small"] == card["aliases"]
    meta = card["meta"]
    assert 0 < meta["n_ctx"] <= meta["n_ctx_train"]
    assert (
        Path(bundled_file()).stat().st_size
        > meta["size"]
        > meta["n_params"]
        > meta["n_vocab"]
        > meta["n_embd"]
        > 0
    )
    assert meta["vocab_type"] in range(1, 7)
    assert ["completion"] == card["capabilities"]
    assert meta == served.client.get("/v1/models/nano").json()["meta"]


def test_a_file_that_cannot_be_read_does_not_hide_the_others(served: Served) -> None:
    """Its model has no figures."""
    listed = cards(served)
    assert ["first", "nano", "broken", "bad", "gone"] == list(listed)
    assert not any("meta" in listed[name] for name in ("broken", "bad", "gone"))


def test_a_model_that_failed_to_load_says_so(served: Served) -> None:
    """In llama-server's words it is unloaded."""
    served.client.post("/models/load", json={"model": "broken"})
    status = cards(served)["broken"]["status"]
    assert ("unloaded", "failed", True, 1) == tuple(
        status[k] for k in ("value", "state", "failed", "exit_code")
    )


def test_an_unloaded_model_keeps_the_context_it_had(served: Served) -> None:
    """As far as is known, it will have that again."""
    assert served.client.post("/models/load", json={"model": "nano"}).json() == {"success": True}
    loaded = cards(served)["nano"]["meta"]["n_ctx"]
    assert served.client.post("/models/unload", json={"model": "nano"}).json() == {"success": True}
    card = cards(served)["nano"]
    assert ("unloaded", loaded) == (card["status"]["value"], card["meta"]["n_ctx"])


def test_the_list_has_another_path_too(served: Served) -> None:
    """It is always current, so there is nothing to reload."""
    assert cards(served) == cards(served, "/models") == cards(served, "/models?reload=1")


def test_a_file_that_was_replaced_is_read_again(tmp_path: Path) -> None:
    """Each file is read once, and again when it changes."""
    models = engines()
    path = tmp_path / "model.gguf"
    models.files["nano"] = str(path)
    with several(models) as daemon:
        assert "meta" not in cards(daemon)["nano"]
        shutil.copy(bundled_file(), path)
        assert "meta" in cards(daemon)["nano"]
        path.write_bytes(b"GGUF")
        assert "meta" not in cards(daemon)["nano"]
