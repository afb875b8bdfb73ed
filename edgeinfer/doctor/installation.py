"""Python and the packages that edgeinfer requires."""

from __future__ import annotations

import importlib.metadata
import platform
import shlex
import sys
from collections.abc import Callable, Sequence

import msgspec

import edgeinfer
from edgeinfer.doctor.finding import Finding
from edgeinfer.hardware import System
from edgeinfer.plan.machine_notes import system_notes
from edgeinfer.plan.rebuild import PACKAGE, rebuild_command, setup_command

CHECK = "installation"


class PackageMetadata(msgspec.Struct, frozen=True):
    """The requirements of the installed package; `requires` is in the form of PEP 508."""

    version: str
    python: str
    requires: Sequence[str]


def package_metadata() -> PackageMetadata | None:
    """Return the metadata of edgeinfer, None in a checkout that was never installed."""
    try:
        metadata = importlib.metadata.metadata("edgeinfer")
    except importlib.metadata.PackageNotFoundError:
        return None
    return PackageMetadata(
        metadata["Version"], metadata["Requires-Python"] or "", metadata.get_all("Requires-Dist") or []
    )


def installed_version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def check_installation(
    metadata: PackageMetadata | None,
    version_of: Callable[[str], str | None],
    python: str = platform.python_version(),
    code_version: str = edgeinfer.__version__,
    setup: str | None = setup_command(),
) -> list[Finding]:
    """Check Python and all required packages.

    Args:
        code_version: the version of the running code.
        setup: the command that sets up this checkout again. What a package index has under the name of edgeinfer
            need not be this program, so no advice fetches that.
    """
    from packaging.requirements import Requirement
    from packaging.specifiers import SpecifierSet

    pip = f"{shlex.quote(sys.executable)} -m pip install"
    if metadata is None:
        text = "edgeinfer runs without being installed, so its requirements are unknown"
        return [Finding(CHECK, "note", text, setup or "scripts/setup")]
    findings = []
    if not SpecifierSet(metadata.python).contains(python, prereleases=True):
        text = f"Python {python} does not satisfy {metadata.python}"
        findings.append(
            Finding(CHECK, "error", text, "install edgeinfer in an environment with a newer Python")
        )
    if metadata.version != code_version:
        text = f"the code is version {code_version}, but {metadata.version} is installed"
        findings.append(Finding(CHECK, "warning", text, setup or "install it again, as it was installed"))
    count = 0
    for requirement in map(Requirement, metadata.requires):
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        count += 1
        version = version_of(requirement.name)
        if version is not None and requirement.specifier.contains(version, prereleases=True):
            continue
        required = f"{requirement.name}{requirement.specifier}"
        text = (
            f"{requirement.name} is missing"
            if version is None
            else f"{requirement.name} {version} does not satisfy {required}"
        )
        own = f"{pip} {shlex.quote(required)}"
        fix = rebuild_command() if requirement.name == PACKAGE else setup or own
        findings.append(Finding(CHECK, "error", text, fix))
    return findings or [
        Finding(
            CHECK, "ok", f"edgeinfer {code_version}, Python {python}, {count} package{'s' * (count != 1)}"
        )
    ]


def check_platform(system: System, *, has_llguidance: bool) -> list[Finding]:
    """Name what does not work on systems of unusual kinds."""
    notes = system_notes(system, has_llguidance=has_llguidance)
    return [Finding(CHECK, "warning", note.text, note.fix) for note in notes]
