"""Which model a name means."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgeinfer.errors import ModelLoadFailed, ModelNotFound
from edgeinfer.gguf.header import read_header
from edgeinfer.store.lookup import BUNDLED_MODEL, find_model, header_roles
from edgeinfer.store.store import Store
from tests.support.bert import write_bert
from tests.support.models import install, write_model

R1 = "deepseek-r1-distill-qwen-1.5b"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def test_without_a_name_and_with_nothing_installed_it_is_the_bundled_model(store: Store) -> None:
    """So that the first command works."""
    model = find_model(None, store)
    assert BUNDLED_MODEL == model.name
    assert model.header
    assert Path(model.path).is_file()
    assert model == find_model("", store) == find_model("Edgeinfer-Nano", store)


def test_without_a_name_it_is_the_chat_model_that_came_last(store: Store) -> None:
    """Models that only embed don't count, whether the catalogue or their header says so."""
    install(store, "first")
    last = install(store, "second", "Q8_0")
    install(store, "embedder", pooling=1)
    install(store, "nomic-embed-text-v1.5")
    model = find_model(None, store)
    assert ("second", str(last.path), "Q8_0") == (model.name, model.path, model.quant)


@pytest.mark.parametrize("name", [R1, R1.upper(), f"{R1}:q4_k_m", "r1-1.5b", "R1-1.5B:Q4_K_M", "deepseek-r1"])
def test_an_installed_model_has_many_names(store: Store, name: str) -> None:
    """Its own, in any case and with its quantization; and the catalogue's aliases."""
    stored = install(store, R1)
    model = find_model(name, store)
    assert (R1, str(stored.path), "Q4_K_M") == (model.name, model.path, model.quant)


def test_of_several_quantizations_the_last_one_is_meant(store: Store) -> None:
    """Unless one is named."""
    first, last = install(store, "some", "Q8_0"), install(store, "some", "Q4_0")
    assert str(last.path) == find_model("some", store).path
    assert str(first.path) == find_model("some:Q8_0", store).path


def test_the_catalogue_knows_how_a_model_writes_tool_calls(store: Store) -> None:
    """What its template does not show."""
    install(store, R1)
    install(store, "llama-3.2-1b")
    from edgeinfer.store.catalogue import catalogue

    for name in (R1, "llama-3.2-1b"):
        assert catalogue()[name].tool_format == find_model(name, store).tool_format


def test_a_path_is_a_path(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a slash or with .gguf, even if a model is called so; a bare name only if no model is."""
    path = write_model(tmp_path / "some.gguf")
    monkeypatch.chdir(tmp_path)
    installed = install(store, "some")
    path.with_suffix("").write_bytes(path.read_bytes())
    path.with_name("bare").write_bytes(path.read_bytes())
    for name in (str(path), "some.gguf", "./some.gguf"):
        assert ("some", str(path), None) == (find_model(name, store).name, find_model(name, store).path, None)
    assert str(installed.path) == find_model("some", store).path
    assert str(tmp_path / "bare") == find_model("bare", store).path


@pytest.mark.parametrize(
    ("name", "message", "hint"),
    [
        ("r1-1.5b", f"{R1} is not installed", f"edgeinfer pull {R1}"),
        ("r1-1.5b:q8_0", f"{R1}:Q8_0 is not installed", f"edgeinfer pull {R1}:Q8_0"),
        ("some:q8_0", "some is not installed as q8_0", "installed: Q4_0"),
        ("same", "no such model: 'same'", "did you mean 'some'?"),
        ("qwen3-0.8b", "no such model: 'qwen3-0.8b'", "did you mean 'qwen3-0.6b'?"),
        ("xyzzy", "no such model: 'xyzzy'", "some"),
        ("/nowhere/x.gguf", "no such file: '/nowhere/x.gguf'", None),
        ("x.gguf", "no such file", None),
        ("Qwen/Qwen3-0.6B", "no such file", "edgeinfer pull Qwen/Qwen3-0.6B"),
        ("../some", "no such file", None),
        ("some\0", "no such model: 'some\\x00'", "some"),
        ("a\nb", "no such model: 'a\\nb'", "some"),
    ],
)
def test_what_is_not_here_is_told_with_what_to_do(
    store: Store, name: str, message: str, hint: str | None
) -> None:
    """What is known but not installed can be pulled; else the nearest names are told."""
    install(store, "some", "Q4_0")
    with pytest.raises(ModelNotFound) as raised:
        find_model(name, store)
    assert message in raised.value.message
    assert raised.value.param == "model"
    assert (hint or "") in (raised.value.hint or "")


def test_another_quantization_that_is_here_is_named(store: Store) -> None:
    """It may do."""
    install(store, R1)
    with pytest.raises(ModelNotFound, match="not installed; installed: Q4_K_M"):
        find_model(f"{R1}:Q8_0", store)


def test_a_model_whose_file_is_gone_says_so(store: Store) -> None:
    """That is not the same as never having been there."""
    stored = install(store, "some")
    stored.path.unlink()
    with pytest.raises(ModelNotFound, match=r"some:Q4_K_M cannot be served: its file is missing") as raised:
        find_model("some", store)
    assert "edgeinfer models rm some:Q4_K_M" in str(raised.value.hint)


def test_an_unsound_file_is_refused(store: Store) -> None:
    """Rather than another model served in its place."""
    stored = install(store, R1)
    stored.path.write_bytes(b"x" * stored.size)
    with pytest.raises(ModelLoadFailed):
        find_model(None, store)


def test_a_header_shows_what_a_model_is_for(tmp_path: Path) -> None:
    """A template is for chat; pooling, or attention to what follows, for embedding."""
    assert ("chat",) == header_roles(read_header(write_model(tmp_path / "a.gguf")))
    assert () == header_roles(read_header(write_model(tmp_path / "b.gguf", template=False)))
    assert ("embed",) == header_roles(read_header(write_model(tmp_path / "c.gguf", pooling=3)))
    assert ("embed",) == header_roles(read_header(write_model(tmp_path / "d.gguf", causal=False)))
    assert ("chat",) == header_roles(read_header(write_model(tmp_path / "e.gguf", causal=True, pooling=0)))
    write_bert(tmp_path / "f.gguf", pooling=None, head=True)
    assert ("rerank",) == header_roles(read_header(tmp_path / "f.gguf"))


def test_the_fake_needs_no_file(store: Store) -> None:
    """With whatever stands behind its colon."""
    model = find_model("fake:0.1", store)
    assert ("fake", "fake:0.1", None) == (model.name, model.path, model.header)


def test_a_broken_record_does_not_keep_the_others_from_being_found(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    """A daemon must start."""
    install(store, "some")
    (store.root / "records" / "other@Q4_0.json").write_text("{")
    with caplog.at_level(logging.WARNING):
        assert find_model(None, store).name == "some"
    assert "other@Q4_0.json" in caplog.text


def test_looking_a_model_up_loads_nothing_heavy() -> None:
    """The daemon does it."""
    code = "import sys, edgeinfer.store.lookup; print([m for m in ('numpy', 'huggingface_hub', 'httpx', 'starlette') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_path_that_cannot_be_looked_at_is_no_model(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is too long, or in a directory of another user."""
    with pytest.raises(ModelNotFound, match="cannot be read: File name too long"):
        find_model("/" + "x" * 5000, store)
    with pytest.raises(ModelNotFound, match="cannot be read: File name too long"):
        find_model("x" * 5000, store)

    def refuse(_path: Path) -> os.stat_result:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "stat", refuse)
    with pytest.raises(ModelNotFound, match=r"'/private/x\.gguf' cannot be read: Permission denied"):
        find_model("/private/x.gguf", store)
