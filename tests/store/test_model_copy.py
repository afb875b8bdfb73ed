"""Copies between stores: complete, verified, or not there at all."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from edgeinfer.errors import DiskFull, HashMismatch, ModelLoadFailed, StoreError
from edgeinfer.store import free_space
from edgeinfer.store.imports import external_file, import_file
from edgeinfer.store.model_copy import copy_model, is_store
from edgeinfer.store.store import Store
from edgeinfer.store.stored_model import StoredModel
from tests.support.cli import run
from tests.support.mirror import add, model
from tests.support.models import write_model


@pytest.fixture
def source(tmp_path: Path) -> Store:
    return Store(tmp_path / "source")


@pytest.fixture
def target(tmp_path: Path) -> Store:
    return Store(tmp_path / "target")


def valid(source: Store, tmp_path: Path, **fields: str) -> StoredModel:
    """Put a valid model into the store."""
    return add(source, write_model(tmp_path / "some.gguf").read_bytes(), **fields)


def files(store: Store) -> list[str]:
    return sorted(str(path.relative_to(store.root)) for path in store.root.rglob("*.*") if path.is_file())


def test_a_copy_is_as_from_the_hub(source: Store, target: Store, tmp_path: Path) -> None:
    """Name, commit and hash are the original's; the original can go."""
    original = valid(source, tmp_path)
    seen: list[int] = []
    copied = copy_model(original, target, seen.append)
    assert original.size == sum(seen)
    shutil.rmtree(source.root)
    assert [copied] == target.installed()
    assert target.verify(copied) is None
    assert (original.repo, original.revision, original.file, "hub") == (
        copied.repo,
        copied.revision,
        copied.file,
        copied.origin,
    )


def test_a_copy_of_a_users_own_file_belongs_to_the_store(
    source: Store, target: Store, tmp_path: Path
) -> None:
    """Its original may be on a drive that is taken away."""
    path = write_model(tmp_path / "mine-Q4_0.gguf")
    copied = copy_model(import_file(source, external_file(path)), target)
    path.unlink()
    assert ("mine", True) == (copied.name, copied.path.is_relative_to(target.root))
    assert [copied] == target.installed()


def test_copying_again_changes_nothing(source: Store, target: Store, tmp_path: Path) -> None:
    original = valid(source, tmp_path)
    first = copy_model(original, target)
    original.path.unlink()
    assert first == copy_model(original, target)


def test_a_damaged_original_leaves_nothing(source: Store, target: Store, tmp_path: Path) -> None:
    """Cards wear out: the content differs, the size does not."""
    original = valid(source, tmp_path)
    data = bytearray(original.path.read_bytes())
    data[-1] ^= 1
    original.path.write_bytes(data)
    with pytest.raises(HashMismatch, match="is damaged"):
        copy_model(original, target)
    assert [] == [file for file in files(target) if not file.startswith("locks/")]


def test_what_is_no_model_is_refused(source: Store, target: Store) -> None:
    """Whatever its record says."""
    with pytest.raises(ModelLoadFailed):
        copy_model(add(source, model("noise")), target)
    assert [] == target.installed()


def test_another_model_of_the_name_stays(source: Store, target: Store, tmp_path: Path) -> None:
    present = add(target, write_model(tmp_path / "x.gguf", "Other").read_bytes(), repo="other/repo")
    with pytest.raises(StoreError, match="is another model") as raised:
        copy_model(valid(source, tmp_path), target)
    assert raised.value.hint == "edgeinfer models rm some:Q4_0"
    assert [present] == target.installed()


def test_a_disk_without_space_is_found_out_before(
    source: Store, target: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = valid(source, tmp_path)
    monkeypatch.setattr(free_space.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1, 1, 0))  # type: ignore[attr-defined]
    with pytest.raises(DiskFull):
        copy_model(original, target)
    assert [] == files(target)


def test_the_command_copies_all_models_of_a_store(source: Store, target: Store, tmp_path: Path) -> None:
    """By the path of its folder."""
    original = valid(source, tmp_path)
    assert is_store(source.root)
    assert not is_store(tmp_path)
    done = run(tmp_path, "models", "import", str(source.root), EDGEINFER_STORE=str(target.root))
    assert (0, "some:Q4_0\n") == (done.returncode, done.stdout), done.stderr
    assert [original.sha256] == [stored.sha256 for stored in target.installed()]
    named = run(
        tmp_path, "models", "import", str(source.root), "--name", "x", EDGEINFER_STORE=str(target.root)
    )
    assert 2 == named.returncode
