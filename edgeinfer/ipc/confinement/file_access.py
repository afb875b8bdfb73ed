"""Lists the files that a process which runs llama.cpp needs, apart from its model."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from edgeinfer.ipc.confinement.landlock import CHANGE, DEVICE, READ, FileRight

SYSTEM = (
    "/lib", "/lib32", "/lib64", "/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/local/lib", "/usr/local/lib64",
    "/nix/store", "/gnu/store", "/etc/ld.so.cache", "/etc/ld.so.preload", "/etc/localtime", "/usr/share/zoneinfo",
    "/dev/urandom", "/dev/random", "/dev/zero", "/proc/self", "/proc/cpuinfo", "/proc/meminfo", "/proc/stat",
    "/proc/version", "/proc/sys/vm", "/sys/devices/system", "/sys/kernel/mm/transparent_hugepage",
    "/sys/kernel/mm/hugepages",
)  # fmt: skip
"""Libraries, and facts about CPUs and memory."""

GPU = (
    "/usr", "/opt", "/etc/alternatives", "/etc/OpenCL", "/etc/amd*",
    "/etc/drirc", "/etc/egl", "/etc/glvnd", "/etc/nvidia*", "/etc/nv_tegra_release", "/etc/rocm*", "/etc/vulkan",
    "/run/nvidia*", "/run/opengl-driver*", "/var/lib/nvidia*", "/sys", "/proc/bus", "/proc/devices",
    "/proc/driver", "/proc/modules", "/proc/sys", "/proc/uptime",
)  # fmt: skip
"""Patterns of what graphics drivers read."""

GPU_DEVICES = (
    "accel", "dma_heap", "dri", "dxg", "kfd", "mali*", "nvgpu", "nvhost*", "nvidia*", "nvmap", "nvsciipc",
    "pvr*", "shm",
)  # fmt: skip
"""Patterns below /dev."""

GPU_CACHES = ("nvidia", "mesa_shader_cache", "mesa_shader_cache_db", "radv_builtin_shaders")
"""Names in the user's cache directory: compiled kernels, which take seconds to compile again."""

LIBRARY_PATHS = ("LD_LIBRARY_PATH", "LLAMA_CPP_LIB_PATH", "GGML_BACKEND_PATH")

Access = tuple[str, FileRight]
"""A path and what may be done there."""


def llama_files(
    *,
    read: Iterable[str] = (),
    change: Iterable[str] = (),
    gpu: bool = False,
    environ: Mapping[str, str] = os.environ,
) -> list[Access]:
    """Return all files for llama.cpp and Python, and those that are named.

    Args:
        gpu: a GPU computes; its drivers read many files.
    """
    paths = [*SYSTEM, *_python(), *_libraries(environ), *read]
    files = [(path, READ) for path in dict.fromkeys(paths) if path and path != "/"]
    files += [("/dev/null", READ | FileRight.WRITE_FILE)]
    files += [(path, READ | CHANGE) for path in change]
    return [*files, *gpu_files(environ)] if gpu else files


def _python() -> Iterator[str]:
    """Yield the directories of the interpreter and of all packages."""
    yield from (sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix)
    yield from (os.path.abspath(entry) for entry in sys.path if entry)  # noqa: PTH100  links stay as they are


def _libraries(environ: Mapping[str, str]) -> Iterator[str]:
    for name in LIBRARY_PATHS:
        yield from environ.get(name, "").split(os.pathsep)


def gpu_files(environ: Mapping[str, str] = os.environ) -> Iterator[Access]:
    """Yield the files of graphics cards' drivers."""
    for pattern in GPU:
        yield from ((path, READ) for path in _matches(pattern))
    for pattern in GPU_DEVICES:
        yield from ((path, DEVICE | CHANGE) for path in _matches(f"/dev/{pattern}"))
    home = Path(environ.get("HOME") or "/nonexistent")
    cache = Path(environ.get("XDG_CACHE_HOME") or home / ".cache")
    own = (environ.get("CUDA_CACHE_PATH"), home / ".nv", *(cache / name for name in GPU_CACHES))
    yield from ((str(path), READ | CHANGE) for path in own if path)


def _matches(pattern: str) -> Iterator[str]:
    return map(str, Path("/").glob(pattern.lstrip("/")))
