"""llama.cpp: are its libraries intact, do they load, and were they built for this CPU?"""

from __future__ import annotations

import base64
import contextlib
import csv
import hashlib
import importlib.metadata
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from edgeinfer.doctor.finding import Finding
from edgeinfer.hardware import CpuClass, LlamaBuild
from edgeinfer.hardware.llama_build import load_libraries, read_from
from edgeinfer.plan.build_notes import build_note
from edgeinfer.plan.rebuild import PACKAGE

CHECK = "llama.cpp"

LOAD_TIMEOUT = 60.0
"""Seconds for loading; a small board needs ten to read everything from its card."""


def try_load() -> LlamaBuild | str:
    """Load llama.cpp in a process; its build, or how that process ended."""
    try:
        done = load_libraries(LOAD_TIMEOUT)
    except subprocess.TimeoutExpired:
        return f"loading took more than {LOAD_TIMEOUT:g} s"
    except OSError as e:
        return f"{sys.executable}: {e.strerror}"
    with contextlib.suppress(OSError, subprocess.SubprocessError, msgspec.DecodeError):
        return read_from(done)
    if done.returncode < 0:
        with contextlib.suppress(ValueError):
            return signal.Signals(-done.returncode).name
    lines = done.stderr.decode(errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), f"exit status {done.returncode}")


def damaged_libraries(package: str = PACKAGE, *, fast: bool = False) -> list[str]:
    """Return libraries of a package that differ from its RECORD; `fast` compares only sizes."""
    try:
        distribution = importlib.metadata.distribution(package)
    except importlib.metadata.PackageNotFoundError:
        return []
    problems = []
    # `distribution.files` leaves out missing files.
    for name, digest, size, *_ in csv.reader((distribution.read_text("RECORD") or "").splitlines()):
        path = Path(str(distribution.locate_file(name)))
        if ".so" not in path.suffixes and path.suffix != ".dylib":
            continue
        if not path.is_file():
            problems.append(f"{name} is missing")
        elif size and path.stat().st_size != int(size):
            problems.append(f"{name} has {path.stat().st_size} bytes instead of {size}")
        elif digest and not fast and _digest(path, digest.partition("=")[0]) != digest:
            problems.append(f"{name} has changed")
    return problems


def _digest(path: Path, algorithm: str) -> str:
    """Return the digest of a file in the form of RECORD: "sha256=..."."""
    digest = hashlib.new(algorithm)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return f"{algorithm}={base64.urlsafe_b64encode(digest.digest()).rstrip(b'=').decode()}"


def check_llama(
    build: LlamaBuild | str,
    damaged: Sequence[str],
    cpus: Sequence[CpuClass],
    fix: str,
    cpu_name: str | None = None,
) -> list[Finding]:
    """Check the libraries and their build; `fix` is the command that rebuilds them."""
    findings = [Finding(CHECK, "error", f"{text}: the installation is damaged", fix) for text in damaged]
    if isinstance(build, str):
        text = f"llama.cpp does not load: {build}"
        return [*findings, Finding(CHECK, "error", text, _load_fix(build, fix))]
    if note := build_note(build, cpus, cpu_name):
        findings.append(Finding(CHECK, note.level, note.text, fix))
    if not build.loads:
        text = "llama.cpp does not load: SIGILL, though this CPU has all that it was built for"
        broken = note is None or note.level != "error"
        return [*findings, Finding(CHECK, "error", text, fix)] if broken else findings
    findings += check_kernels(build, cpus)
    variant = f", variant {build.variant}" if build.variant else ""
    sets = " ".join((*build.apis, *build.isa)) or "loads"
    return findings or [Finding(CHECK, "ok", f"{build.version}{variant}: {sets}")]


def check_kernels(build: LlamaBuild, cpus: Sequence[CpuClass]) -> list[Finding]:
    """Check for edgeinfer's matrix kernels; a CPU with AMX does not need them."""
    own = set(cpus[0].isa or ()) if cpus else set()
    useless = not own & {"avx2", "neon"} or "amx" in own or build.apis or sys.platform != "linux"
    if build.kernels or useless:
        return []
    text = "llama.cpp was built without edgeinfer's kernels: prompts and parallel answers are slower"
    return [Finding(CHECK, "note", text, "build it with scripts/setup in a checkout of edgeinfer")]


def _load_fix(error: str, fix: str) -> str:
    if "libgomp" in error:
        return "install the OpenMP library: sudo apt install libgomp1"
    return fix
