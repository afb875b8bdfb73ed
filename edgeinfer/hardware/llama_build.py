"""Detects what the installed llama.cpp was built with."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec

from edgeinfer.hardware.cpu import classes
from edgeinfer.hardware.gpu import Api
from edgeinfer.ipc.environment import child_environment
from edgeinfer.llama_version import llama_version
from edgeinfer.user_folders import daemon_cache_folder

CACHE_FILE = "llama-build.json"
LOAD_TIMEOUT = 60.0
"""Seconds to load the libraries: a small board needs ten to read them from its SD card."""


class LlamaBuild(msgspec.Struct, frozen=True):
    """The installed llama.cpp: version of the package, instruction sets and GPU APIs it was built with.

    `kernels`: it has our own matrix-product kernels, which scripts/setup adds. `row_exact`: with those that compute each
    row of a product and of attention alike, however many are computed together. `variant`: which of its libraries for
    different CPUs it loads here, None if it was built for one kind of CPU. `loads`: False if it crashes with SIGILL,
    as on a CPU that lacks one of the instruction sets.
    """

    version: str
    isa: tuple[str, ...] = ()
    apis: tuple[Api, ...] = ()
    kernels: bool = False
    row_exact: bool = False
    variant: str | None = None
    loads: bool = True


class CachedBuild(msgspec.Struct, frozen=True):
    """A build, and the library files that it was read from."""

    libraries: str
    build: LlamaBuild


def llama_build(cache: Path | None = None) -> LlamaBuild | None:
    """Return what llama.cpp was built with; None if it is not installed or does not load.

    Loading it takes a second, or several on a small board, so a separate process does it once, and the answer is
    cached until the libraries or the CPU change.

    Args:
        cache: directory of the cache; None is the user's own.
    """
    libraries = _libraries()
    if libraries is None:
        return None
    directory = cache or daemon_cache_folder()
    file = directory / CACHE_FILE
    with contextlib.suppress(OSError, ValueError, RecursionError):
        cached = msgspec.json.decode(file.read_bytes(), type=CachedBuild)
        if cached.libraries == libraries:
            return cached.build
    build = read_build()
    if build is not None and build.loads:
        with contextlib.suppress(OSError):
            directory.mkdir(parents=True, exist_ok=True)
            partial = file.with_suffix(f".{os.getpid()}")
            partial.write_bytes(msgspec.json.encode(CachedBuild(libraries, build)))
            partial.replace(file)
    return build


def read_build() -> LlamaBuild | None:
    """Have another process load the libraries, which may crash it; None if it fails."""
    try:
        return read_from(load_libraries(LOAD_TIMEOUT))
    except (OSError, subprocess.SubprocessError, msgspec.DecodeError):
        return None


def load_libraries(timeout: float) -> subprocess.CompletedProcess[bytes]:
    """Run a process that loads the libraries and prints what they are, and return it once it has ended.

    Raises:
        OSError, subprocess.TimeoutExpired: it could not be started, or took more than `timeout` seconds.
    """
    return _run("build", timeout)


def read_from(loading: subprocess.CompletedProcess[bytes]) -> LlamaBuild:
    """Return the build that a process has printed. If it died with SIGILL, another asks the library for the CPU alone.

    Raises:
        OSError, subprocess.SubprocessError, msgspec.DecodeError: it did not print any.
    """
    if loading.returncode == -signal.SIGILL:
        loading = _run("compiled_sets", LOAD_TIMEOUT)
    loading.check_returncode()
    return msgspec.json.decode(loading.stdout, type=LlamaBuild)


def _run(module: str, timeout: float) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", f"edgeinfer.backends.llama_cpp.binding.{module}"],
        env=child_environment(llama=True),
        cwd="/",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=timeout,
        check=False,
    )


def _libraries() -> str | None:
    """Return version, sizes and dates of the installed libraries, and what they choose by, without loading them."""
    try:
        package = importlib.util.find_spec("llama_cpp")
    except (ImportError, ValueError):
        return None
    if package is None or package.origin is None:
        return None
    directory = Path(os.environ.get("LLAMA_CPP_LIB_PATH") or Path(package.origin).parent / "lib")
    lines = [f"{llama_version()} {directory}"]
    with contextlib.suppress(OSError):
        for path in sorted(directory.iterdir()):
            status = path.stat()
            lines.append(f"{path.name} {status.st_size} {status.st_mtime_ns}")
    if any(line.startswith("libggml-cpu-") for line in lines):  # an SD card may move to another board
        lines += [str(kind.isa) for kind in classes(Path("/"))]
    return "\n".join(lines)
