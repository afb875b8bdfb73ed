"""Python, and the packages that this one wants."""

from __future__ import annotations

import importlib.metadata
import platform
import shlex
import sys
from collections.abc import Callable, Sequence

import msgspec

import edgeinfer
from edgeinfer.doctor.finding import Finding
from edgeinfer.doctor.llama import PACKAGE, rebuild

CHECK = "installation"


class Wanted(msgspec.Struct, frozen=True):
    """What the package's own metadata says; `requires` as PEP 508 has it."""

    version: str
    python: str
    requires: Sequence[str]


def wanted() -> Wanted | None:
    """None where it is not installed, but lies there: a checkout that was never set up."""
    try:
        found = importlib.metadata.metadata("edgeinfer")
    except importlib.metadata.PackageNotFoundError:
        return None
    return Wanted(found["Version"], found["Requires-Python"] or "", found.get_all("Requires-Dist") or [])


def version_of(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def installation(
    wanted: Wanted | None,
    version_of: Callable[[str], str | None],
    python: str = platform.python_version(),
    files: str = edgeinfer.__version__,
) -> list[Finding]:
    """`files`: the version of the code that runs."""
    from packaging.requirements import Requirement
    from packaging.specifiers import SpecifierSet

    pip = f"{shlex.quote(sys.executable)} -m pip install"
    if wanted is None:
        text = "edgeinfer runs without being installed, so it is not known which packages it wants"
        return [Finding(CHECK, "note", text, "scripts/setup, or pip install edgeinfer")]
    found = []
    if not SpecifierSet(wanted.python).contains(python, prereleases=True):
        text = f"Python {python} is not {wanted.python}"
        found.append(Finding(CHECK, "error", text, "install edgeinfer in an environment of a newer Python"))
    if wanted.version != files:
        text = f"the code is of version {files}, and was installed as {wanted.version}"
        found.append(Finding(CHECK, "warning", text, f"install it again: {pip} --force-reinstall edgeinfer"))
    count = 0
    for requirement in map(Requirement, wanted.requires):
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        count += 1
        have = version_of(requirement.name)
        if have is not None and requirement.specifier.contains(have, prereleases=True):
            continue
        want = f"{requirement.name}{requirement.specifier}"
        text = (
            f"{requirement.name} is missing" if have is None else f"{requirement.name} {have} is not {want}"
        )
        fix = rebuild() if requirement.name == PACKAGE else f"{pip} {shlex.quote(want)}"
        found.append(Finding(CHECK, "error", text, fix))
    return found or [
        Finding(CHECK, "ok", f"edgeinfer {files}, Python {python}, {count} package{'s' * (count != 1)}")
    ]
