"""The version of llama-cpp-python is found wherever Python would find the package."""

from __future__ import annotations

import importlib.metadata
import sys
from pathlib import Path

import pytest

from edgeinfer.llama_version import llama_version


def test_it_is_what_pip_installed() -> None:
    assert importlib.metadata.version("llama-cpp-python") == llama_version()


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder, the only one in which packages are looked for."""
    monkeypatch.setattr(sys, "path", ["", str(tmp_path / "missing"), str(tmp_path)])
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_without_the_package_there_is_none(packages: Path) -> None:
    (packages / "llama_cpp_python_extras-1.0.dist-info").mkdir()
    (packages / "llama_cpp_python").mkdir()
    assert llama_version() is None


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("llama_cpp_python-9.8.7rc1.dist-info", "METADATA"),
        ("llama_cpp_python-9.8.7rc1-py3.11.egg-info", "PKG-INFO"),
    ],
)
def test_a_distribution_may_package_it_in_another_way(packages: Path, name: str, file: str) -> None:
    (packages / name).mkdir()
    (packages / name / file).write_text("Metadata-Version: 2.1\nName: llama-cpp-python\nVersion: 9.8.7rc1\n")
    assert llama_version() == "9.8.7rc1"
