"""llama.cpp: whether its libraries are whole, load, and were built for this CPU."""

from __future__ import annotations

import base64
import contextlib
import csv
import hashlib
import importlib.metadata
import shlex
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from edgeinfer.doctor.finding import Finding, Level
from edgeinfer.hardware import CpuClass, LlamaBuild
from edgeinfer.hardware.llama_build import loading

CHECK = "llama.cpp"
PACKAGE = "llama-cpp-python"

LIMIT = 60.0
"""Seconds that loading may take: a small board needs ten to get it all from its card."""

MUCH = frozenset(("avx2", "fma", "f16c", "avx512", "amx", "dotprod", "i8mm"))
"""Instruction sets that make it several times as fast, or twice; others give some percent."""

ROOT = Path(__file__).parents[2]
"""Of a checkout."""


def rebuild() -> str:
    """The command that builds llama.cpp anew, for this machine."""
    if Path(sys.prefix) == ROOT / ".venv" and (ROOT / "scripts/setup").is_file():
        # Without the stamp it looks at what is installed.
        return f"cd {shlex.quote(str(ROOT))} && rm -f .venv/.setup-stamp && scripts/setup"
    pip = f"{shlex.quote(sys.executable)} -m pip install --force-reinstall --no-deps --no-cache-dir"
    return f"CMAKE_ARGS=-DGGML_NATIVE=ON {pip} --no-binary {PACKAGE} {PACKAGE}"


def load() -> LlamaBuild | str:
    """What a process says that loads it, or how that process ended."""
    try:
        done = loading(LIMIT)
    except subprocess.TimeoutExpired:
        return f"it was not loaded within {LIMIT:g} s"
    except OSError as e:
        return f"{sys.executable}: {e.strerror}"
    if done.returncode == 0:
        return msgspec.json.decode(done.stdout, type=LlamaBuild)
    if done.returncode < 0:
        with contextlib.suppress(ValueError):
            return signal.Signals(-done.returncode).name
    said = done.stderr.decode(errors="replace").split("\n")
    return next((line.strip() for line in reversed(said) if line.strip()), f"exit status {done.returncode}")


def damaged(package: str = PACKAGE, *, fast: bool = False) -> list[str]:
    """Libraries of an installed package that are not as its installer noted them; `fast` looks at sizes alone."""
    try:
        distribution = importlib.metadata.distribution(package)
    except importlib.metadata.PackageNotFoundError:
        return []
    found = []
    # Not by its `files`, which leaves out what is missing.
    for name, digest, size, *_ in csv.reader((distribution.read_text("RECORD") or "").splitlines()):
        path = Path(str(distribution.locate_file(name)))
        if ".so" not in path.suffixes and path.suffix != ".dylib":
            continue
        if not path.is_file():
            found.append(f"{name} is missing")
        elif size and path.stat().st_size != int(size):
            found.append(f"{name} has {path.stat().st_size} bytes instead of {size}")
        elif digest and not fast and _digest(path, digest.partition("=")[0]) != digest:
            found.append(f"{name} has changed")
    return found


def _digest(path: Path, algorithm: str) -> str:
    """As RECORD has it: "sha256=..."."""
    digest = hashlib.new(algorithm)
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return f"{algorithm}={base64.urlsafe_b64encode(digest.digest()).rstrip(b'=').decode()}"


def llama(
    build: LlamaBuild | str, damaged: Sequence[str], cpus: Sequence[CpuClass], fix: str
) -> list[Finding]:
    """`fix`: how to build it anew."""
    found = [Finding(CHECK, "error", f"{text}: the installation is damaged", fix) for text in damaged]
    if isinstance(build, str):
        return [*found, Finding(CHECK, "error", f"it does not load: {build}", _loading(build, fix))]
    found += instruction_sets(build, cpus, fix) + products(build, cpus)
    return found or [
        Finding(CHECK, "ok", f"{build.version}: {' '.join((*build.apis, *build.isa)) or 'loads'}")
    ]


def products(build: LlamaBuild, cpus: Sequence[CpuClass]) -> list[Finding]:
    """Those of scripts/llama; a CPU with AMX does not need them."""
    own = set(cpus[0].isa or ()) if cpus else set()
    useless = "avx2" not in own or "amx" in own or build.apis or sys.platform != "linux"
    if build.products or useless:
        return []
    text = (
        "it was built without edgeinfer's products for x86: several answers at once, and prompts, take longer"
    )
    return [Finding(CHECK, "note", text, "build it with scripts/setup, in a checkout of edgeinfer")]


def _loading(said: str, fix: str) -> str:
    if "libgomp" in said:
        return "install the OpenMP library: sudo apt install libgomp1"
    return fix


def instruction_sets(build: LlamaBuild, cpus: Sequence[CpuClass], fix: str) -> list[Finding]:
    """What the build takes for granted and the CPU lacks; what the CPU has and the build does not use.

    The worker is kept to the fastest cores, so these count.
    """
    own = cpus[0].isa if cpus else None
    if own is None:
        return []
    if missing := [word for word in build.isa if word not in own]:
        text = f"it was built for {', '.join(missing)}, which this CPU lacks: it dies of SIGILL"
        return [Finding(CHECK, "error", text, fix)]
    # bf16 is a word for both; of ARM's llama.cpp does not tell.
    idle = [word for word in own if word not in build.isa and not (word == "bf16" and "neon" in own)]
    if idle == ["amx"]:
        text = "the CPU has AMX, and it was built without: quantized models run at half their speed"
        return [Finding(CHECK, "warning", text, fix)]
    if not idle:
        return []
    much = not MUCH.isdisjoint(idle)
    level: Level = "warning" if much else "note"
    so = "it is much slower than it could be" if much else "it could be faster"
    text = f"it was built without {', '.join(idle)}, which this CPU has: {so}"
    return [Finding(CHECK, level, text, fix)]
