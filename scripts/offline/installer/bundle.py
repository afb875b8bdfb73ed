"""Reads what a bundle holds, and checks it."""

from __future__ import annotations

import hashlib
import json
import platform
import re
import sys
from pathlib import Path
from typing import Any, NamedTuple

FOLDER = Path(__file__).resolve().parents[1]
PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"
CHUNK = 1 << 20


class InstallError(Exception):
    """A reason why nothing can be installed, with what to do about it."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class Model(NamedTuple):
    name: str
    quant: str
    size: int
    sha256: str


class Bundle(NamedTuple):
    """A bundle, as far as it concerns this Python.

    Attributes:
        id: differs for bundles that differ in anything.
        glibc: lowest version that its programs run with.
        unpacked: bytes that its wheels take when they are installed.
    """

    version: str
    machine: str
    id: str
    glibc: tuple[int, int]
    wheels: tuple[Path, ...]
    unpacked: int
    models: tuple[Model, ...]

    @property
    def release(self) -> str:
        """The name of the folder that it is installed in."""
        return f"{self.version}-{self.id[:8]}-python{PYTHON}"

    @property
    def pip(self) -> Path:
        return next(path for path in self.wheels if path.name.startswith("pip-"))


def read_bundle() -> Bundle:
    """Read the description of the bundle that this file lies in."""
    try:
        text = (FOLDER / "bundle.json").read_bytes()
        sums = (FOLDER / "SHA256SUMS").read_bytes()
    except OSError as e:
        raise InstallError(f"this bundle is not complete: {e}", "extract the archive again") from e
    if hashlib.sha256(text).hexdigest() != _sums(sums).get("bundle.json"):
        raise InstallError("bundle.json is damaged", "extract the archive again")
    try:
        return _bundle(json.loads(text), sums)
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as e:
        raise InstallError("bundle.json is damaged", "extract the archive again") from e


def _sums(text: bytes) -> dict[str, str]:
    """Return the hash of each file by its path in the bundle."""
    lines = text.decode(errors="replace").splitlines()
    return {path: digest for digest, _, path in (line.partition("  ") for line in lines)}


def _bundle(found: dict[str, Any], sums: bytes) -> Bundle:
    mine = found["pythons"][PYTHON]
    return Bundle(
        version=found["version"],
        machine=found["machine"],
        id=hashlib.sha256(sums).hexdigest(),
        glibc=(found["glibc"][0], found["glibc"][1]),
        wheels=tuple(FOLDER / "wheels" / name for name in mine["wheels"]),
        unpacked=mine["unpacked"],
        models=tuple(Model(**model) for model in found["models"]),
    )


def check_machine(bundle: Bundle) -> None:
    """Raise InstallError if this machine cannot run what the bundle has."""
    machine = platform.machine()
    if sys.maxsize < 2**32:
        hint = "install the 64-bit system for this board, even if its kernel is 64-bit already"
        raise InstallError("this system's programs are 32-bit, and edgeinfer's are 64-bit", hint)
    if machine != bundle.machine:
        hint = f"make another bundle: scripts/bundle --target {machine}"
        raise InstallError(f"this bundle is for {bundle.machine}, and this machine is {machine}", hint)
    libc = platform.libc_ver()
    needed = ".".join(map(str, bundle.glibc))
    if libc[0] != "glibc":
        hint = "use a system with glibc, such as Debian or Ubuntu, in a container if need be"
        raise InstallError(f"this system's C library is {libc[0] or 'musl'}, and edgeinfer needs glibc", hint)
    if tuple(map(int, re.findall(r"\d+", libc[1])[:2])) < bundle.glibc:
        raise InstallError(
            f"this system has glibc {libc[1]}, and edgeinfer needs {needed}", "upgrade the system"
        )


def check_wheels(bundle: Bundle) -> None:
    """Raise InstallError if a wheel is missing or damaged. Models are checked as they are copied."""
    sums = _sums((FOLDER / "SHA256SUMS").read_bytes())
    for wheel in bundle.wheels:
        try:
            digest = sha256_of(wheel)
        except OSError as e:
            raise InstallError(f"{wheel}: {e.strerror}", "extract the archive again") from e
        if digest != sums.get(f"wheels/{wheel.name}"):
            raise InstallError(f"{wheel} is damaged", "copy the archive to this machine again")


def sha256_of(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(CHUNK):
            digest.update(piece)
    return digest.hexdigest()
