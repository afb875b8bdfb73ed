"""What the installed llama.cpp was built with."""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import msgspec

from edgeinfer.hardware.gpu import Api

LIMIT = 60.0
"""Seconds that asking may take: a small board needs ten to import it all from its card."""


class LlamaBuild(msgspec.Struct, frozen=True):
    """The installed llama.cpp: version of the package, instruction sets and GPU APIs it was built with.

    `kernels`: it has our own matrix-product kernels for x86, which scripts/setup adds.
    """

    version: str
    isa: tuple[str, ...] = ()
    apis: tuple[Api, ...] = ()
    kernels: bool = False


class Kept(msgspec.Struct, frozen=True):
    """What was found, and of which files."""

    libraries: str
    build: LlamaBuild


def llama_build(cache: Path | None = None) -> LlamaBuild | None:
    """None where llama.cpp isn't installed or doesn't load.

    Loading it takes a second, or several on a small board, so a process of its own does it, once: the answer is
    kept in `cache` (None: the user's own) until the libraries change.
    """
    libraries = _libraries()
    if libraries is None:
        return None
    directory = cache or cache_directory()
    if directory is None:
        return ask()
    file = directory / "llama-build.json"
    with contextlib.suppress(OSError, msgspec.DecodeError):
        kept = msgspec.json.decode(file.read_bytes(), type=Kept)
        if kept.libraries == libraries:
            return kept.build
    build = ask()
    if build is not None:
        with contextlib.suppress(OSError):
            directory.mkdir(parents=True, exist_ok=True)
            partial = file.with_suffix(f".{os.getpid()}")
            partial.write_bytes(msgspec.json.encode(Kept(libraries, build)))
            partial.replace(file)
    return build


def ask() -> LlamaBuild | None:
    """From a process that loads the libraries, and may die of it."""
    try:
        done = loading(LIMIT)
        done.check_returncode()
        return msgspec.json.decode(done.stdout, type=LlamaBuild)
    except (OSError, subprocess.SubprocessError, msgspec.DecodeError):
        return None


def loading(limit: float) -> subprocess.CompletedProcess[bytes]:
    """A process that loads the libraries and says what they are, once it has ended.

    Raises:
        OSError, subprocess.TimeoutExpired: it could not be started, or took more than `limit` seconds.
    """
    # It finds modules where we do, and not where the user happens to stand.
    path = os.pathsep.join(str(Path(entry).absolute()) for entry in sys.path)
    return subprocess.run(
        [sys.executable, "-m", "edgeinfer.backends.llama_cpp.binding.build"],
        env={**os.environ, "PYTHONPATH": path},
        cwd="/",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=limit,
        check=False,
    )


def cache_directory() -> Path | None:
    """A service's own, else the user's; None where there is neither."""
    service = Path(os.environ.get("CACHE_DIRECTORY", "").partition(":")[0])
    if service.is_absolute():
        return service
    given = Path(os.environ.get("XDG_CACHE_HOME", ""))
    try:
        return (given if given.is_absolute() else Path.home() / ".cache") / "edgeinfer"
    except RuntimeError:  # a user without a home
        return None


def _libraries() -> str | None:
    """Version, sizes and dates of the installed libraries, without loading them."""
    try:
        package = importlib.util.find_spec("llama_cpp")
        version = importlib.metadata.version("llama-cpp-python")
    except (ImportError, ValueError):
        return None
    if package is None or package.origin is None:
        return None
    directory = Path(package.origin).parent / "lib"
    found = [f"{version} {directory}"]
    with contextlib.suppress(OSError):
        for path in sorted(directory.iterdir()):
            about = path.stat()
            found.append(f"{path.name} {about.st_size} {about.st_mtime_ns}")
    return "\n".join(found)
