"""Reads the versions and hashes in requirements/, for machines other than this one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
REQUIREMENTS = ROOT / "requirements"
GLIBC_MINOR = 31
"""Debian 11 and Ubuntu 20.04 have glibc 2.31; wheels for newer ones are not taken."""

TARGETS = ("aarch64", "x86_64")
PYTHONS = ("3.10", "3.11", "3.12", "3.13", "3.14")
COMPILING = ("cmake", "ninja", "scikit-build-core")
"""What only builds llama.cpp."""

OLD_PLATFORMS = {"aarch64": ("manylinux2014",), "x86_64": ("manylinux2014", "manylinux2010", "manylinux1")}


class Pin(NamedTuple):
    """A package in one version, with the sha256 of each of its files."""

    name: str
    version: str
    hashes: tuple[str, ...]

    @property
    def line(self) -> str:
        """The pin as pip reads it, without a condition: pip would judge that by its own machine."""
        return " ".join([f"{self.name}=={self.version}", *(f"--hash=sha256:{h}" for h in self.hashes)])


class Target(NamedTuple):
    """A kind of machine: Linux with glibc on `machine`, with CPython `python`."""

    machine: str
    python: str

    @property
    def platforms(self) -> list[str]:
        """Platforms of wheels that run there, best first."""
        names = [f"manylinux_2_{minor}" for minor in range(GLIBC_MINOR, 4, -1)]
        return [f"{name}_{self.machine}" for name in (*names, *OLD_PLATFORMS[self.machine])]

    @property
    def tags(self) -> frozenset[Tag]:
        """Tags of wheels that run there."""
        major, minor = map(int, self.python.split("."))
        version = (major, minor)
        interpreter = f"cp{major}{minor}"
        return frozenset(
            (
                *cpython_tags(version, platforms=self.platforms),
                *compatible_tags(version, interpreter, self.platforms),
            )
        )

    def meets(self, marker: Marker | None) -> bool:
        """Tell if a condition of requirements/ holds there."""
        environment = {
            "implementation_name": "cpython",
            "os_name": "posix",
            "platform_machine": self.machine,
            "platform_python_implementation": "CPython",
            "platform_system": "Linux",
            "python_full_version": f"{self.python}.0",
            "python_version": self.python,
            "sys_platform": "linux",
        }
        return marker is None or marker.evaluate(environment)


def read_pins(text: str, target: Target) -> Iterator[Pin]:
    """Yield what a file of requirements/ pins for a target; llama.cpp has no wheels on an index and is left out."""
    for line in text.replace("\\\n", " ").splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        requirement = Requirement(line.partition(" --hash")[0])
        name = canonicalize_name(requirement.name)
        if name == "llama-cpp-python" or not target.meets(requirement.marker):
            continue
        [specifier] = requirement.specifier
        yield Pin(name, specifier.version, tuple(re.findall(r"--hash=sha256:([0-9a-f]{64})", line)))


def base_pins(target: Target) -> list[Pin]:
    """Return everything that edgeinfer needs on a target, but llama.cpp."""
    return list(read_pins((REQUIREMENTS / "base.txt").read_text(), target))


def build_pins(target: Target) -> list[Pin]:
    """Return what builds edgeinfer's own package in a checkout, and pip; without hashes."""
    pins = read_pins((REQUIREMENTS / "build.txt").read_text(), target)
    return [pin for pin in pins if pin.name not in COMPILING]
