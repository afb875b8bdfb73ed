"""Models that other programs have: found by their own rules, noted, and never touched."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeinfer.errors import ModelLoadFailed, StoreError
from edgeinfer.store import external_stores
from edgeinfer.store.imports import external_file, import_file
from edgeinfer.store.store import Store
from tests.support.models import install, write_model


@pytest.fixture(autouse=True)
def no_service(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine's own Ollama is not looked at."""
    monkeypatch.setattr(external_stores, "OLLAMA_SERVICE", Path("/nowhere"))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def environ(home: Path, **more: str) -> dict[str, str]:
    return {"HOME": str(home), **more}


def test_a_file_of_the_users_own(store: Store, tmp_path: Path) -> None:
    """Called as its file is, or as the user says."""
    path = write_model(tmp_path / "My Model (v2)-Q4_K_M.gguf")
    stored = import_file(store, external_file(path))
    assert ("my-model-v2", "Q4_K_M", path) == (stored.name, stored.quant, stored.path)
    named = import_file(store, external_file(path), "mine")
    assert ["my-model-v2", "mine"] == [one.name for one in store.installed()]
    assert path == named.path


def test_a_file_name_that_says_nothing_is_not_the_models_name(store: Store, tmp_path: Path) -> None:
    """The header has a title, and knows its type."""
    stored = import_file(
        store, external_file(write_model(tmp_path / "ggml-model.gguf", "Tiny Model 1B", file_type=18))
    )
    assert ("tiny-model-1b", "Q6_K") == (stored.name, stored.quant)
    unknown = import_file(store, external_file(write_model(tmp_path / "other.gguf", file_type=None)))
    assert ("other", "GGUF") == (unknown.name, unknown.quant)


def test_importing_again_changes_nothing(store: Store, tmp_path: Path) -> None:
    """Unless the file has changed."""
    path = write_model(tmp_path / "some-Q4_0.gguf")
    first = import_file(store, external_file(path))
    assert first == import_file(store, external_file(path))
    write_model(path, "another")
    assert [] == store.installed()
    again = import_file(store, external_file(path))
    assert first.sha256 != again.sha256
    assert [again] == store.installed() == store.recorded()


def test_the_name_of_another_model_is_not_taken(store: Store, tmp_path: Path) -> None:
    """In whatever case it is written."""
    installed = install(store, "some", "Q4_0")
    path = write_model(tmp_path / "some-Q4_0.gguf")
    with pytest.raises(StoreError, match=str(installed.path)) as raised:
        import_file(store, external_file(path))
    assert "--name" in str(raised.value.hint)
    with pytest.raises(StoreError):
        import_file(store, external_file(path), "SOME")
    assert import_file(store, external_file(path), "other").name == "other"


@pytest.mark.parametrize("content", [b"", b"GGUF", b"GGUF" + b"\xff" * 1000, b"safetensors"])
def test_an_unsound_file_is_refused(store: Store, tmp_path: Path, content: bytes) -> None:
    """Before llama.cpp sees it."""
    path = tmp_path / "some-Q4_0.gguf"
    path.write_bytes(content)
    with pytest.raises(ModelLoadFailed):
        import_file(store, external_file(path))
    assert [] == store.recorded()


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    """A directory is no file."""
    for path in (tmp_path / "none.gguf", tmp_path):
        with pytest.raises(StoreError, match="no such file"):
            external_file(path)


@pytest.mark.parametrize("name", ["../x", "a b", ".x", "", "a/b"])
def test_a_name_is_checked(store: Store, tmp_path: Path, name: str) -> None:
    """It becomes a path."""
    with pytest.raises(StoreError):
        import_file(store, external_file(write_model(tmp_path / "some-Q4_0.gguf")), name)
