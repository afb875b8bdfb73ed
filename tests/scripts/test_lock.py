"""The versions that scripts/setup installs fit what pyproject.toml asks for: scripts/lock writes them."""

from __future__ import annotations

import re
import sys
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.paths import ROOT

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT: dict[str, Any] = PYPROJECT["project"]
DEPENDENCIES: list[str] = PROJECT["dependencies"]
TOOLS: list[str] = PROJECT["optional-dependencies"]["dev"]
DOCS: list[str] = PYPROJECT["dependency-groups"]["docs"]
CLIENTS = re.findall(r"^[a-z].*$", (ROOT / "requirements" / "clients.in").read_text(), re.MULTILINE)
PIN = re.compile(r"^([a-z0-9-]+)==(\S+)(?: ; (.+?))?(?: \\)?$", re.MULTILINE)


def pins(name: str) -> set[tuple[str, str, str]]:
    """Package, version and marker of each line of a file in requirements/."""
    return set(PIN.findall((ROOT / "requirements" / f"{name}.txt").read_text()))


@pytest.mark.parametrize(
    ("name", "requirements"),
    [("base", DEPENDENCIES), ("dev", [*DEPENDENCIES, *TOOLS]), ("clients", CLIENTS), ("docs", DOCS)],
    ids=["base", "dev", "clients", "docs"],
)
def test_each_requirement_is_pinned_to_a_version_that_it_allows(name: str, requirements: list[str]) -> None:
    """If this fails, run scripts/lock with the names of the packages."""
    versions: dict[str, set[str]] = {}
    for package, version, _ in pins(name):
        versions.setdefault(package, set()).add(version)
    for requirement in map(Requirement, requirements):
        pinned = versions.get(canonicalize_name(requirement.name), set())
        assert pinned, f"{requirement.name} is not pinned"
        assert set(requirement.specifier.filter(pinned)) == pinned


def test_the_tools_do_not_change_what_edgeinfer_runs_with() -> None:
    """Users and developers have the same versions."""
    assert {pin[:2] for pin in pins("base")} <= {pin[:2] for pin in pins("dev")}


def test_llama_cpp_is_the_version_that_the_kernels_are_made_for() -> None:
    """The lower bound, which scripts/setup builds."""
    (bound,) = (r.partition(">=")[2] for r in DEPENDENCIES if r.startswith("llama-cpp-python"))
    assert ("llama-cpp-python", bound, "") in pins("base")


@pytest.mark.parametrize("name", ["base", "dev", "build", "clients", "docs"])
def test_no_package_index_is_named(name: str) -> None:
    """Each machine has its own."""
    assert "://" not in (ROOT / "requirements" / f"{name}.txt").read_text()
