"""scripts/release makes the same bytes each time, and lists what is in them."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT7

from tests.support.debian_programs import find_folder
from tests.support.paths import ROOT

pytestmark = pytest.mark.slow


def release(folder: Path, *wheels: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [ROOT / "scripts/release", folder, *wheels],
        env={**os.environ, **environ},
        cwd=folder.parent,
        umask=0o077 if environ else 0o022,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("release") / "one"
    wheel = folder.parent / "llama_cpp_python-0.0.1-py3-none-any.whl"
    wheel.write_bytes(b"a wheel")
    done = release(folder, wheel)
    assert done.returncode == 0, done.stderr
    return folder


def contents(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def test_another_run_gives_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    """In another time zone, language and umask."""
    [wheel] = folder.parent.glob("llama*.whl")
    done = release(tmp_path / "two", wheel, TZ="Asia/Tokyo", LC_ALL="C.UTF-8", PYTHONHASHSEED="7")
    assert done.returncode == 0, done.stderr
    assert contents(tmp_path / "two") == contents(folder)


def test_the_checksums_are_those_of_all_files(folder: Path) -> None:
    lines = (folder / "SHA256SUMS").read_text().splitlines()
    listed = {name: digest for digest, name in (line.split("  ") for line in lines)}
    found = contents(folder)
    found.pop("SHA256SUMS")
    assert listed == found
    assert len(found) == 4


def test_the_packages_have_what_they_need(folder: Path) -> None:
    [wheel] = folder.glob("edgeinfer-*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {"edgeinfer/bundled/edgeinfer-nano.gguf", "edgeinfer/data/models.toml"} <= names
    assert {name.split("/")[0].split("-")[0] for name in names} == {"edgeinfer"}
    [source] = folder.glob("*.tar.gz")
    with tarfile.open(source) as archive:
        members = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "scripts/release", "deploy/docker/Dockerfile"} <= members


def test_the_list_is_valid_and_complete(folder: Path) -> None:
    """By CycloneDX' own schema."""
    document: dict[str, Any] = json.loads((folder / "edgeinfer.cdx.json").read_text())
    schemas = find_folder("cyclonedx-schema") / "cyclonedx/schema/_res"
    loaded = {path.name: json.loads(path.read_text()) for path in schemas.glob("*.schema.json")}
    main = loaded["bom-1.6.SNAPSHOT.schema.json"]
    base = main["$id"].rpartition("/")[0]
    registry: Registry[Any] = Registry().with_resources(
        (f"{base}/{name}", Resource.from_contents(schema, default_specification=DRAFT7))
        for name, schema in loaded.items()
    )
    jsonschema.Draft7Validator(main, registry=registry).validate(document)
    components = document["components"]
    files = {one["name"]: one["hashes"][0]["content"] for one in components if one["type"] == "file"}
    assert files == {name: digest for name, digest in contents(folder).items() if name in files}
    assert len(files) == 3
    names = {one["name"] for one in components}
    assert {"fastapi", "llama-cpp-python", "preact", "uplot"} <= names
    assert len({one["bom-ref"] for one in components}) == len(components)


@pytest.mark.parametrize("arguments", [(), ("--all",), ("new", "edgeinfer.whl")])
def test_wrong_use_writes_nothing(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    command = [str(ROOT / "scripts/release"), *arguments]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = release(tmp_path)
    assert done.returncode == 2
    assert "is not empty" in done.stderr
