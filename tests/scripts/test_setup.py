"""scripts/setup where the machine does not suit: a CUDA toolkit that fails, a 32-bit system.

A Python of our own stands for pip and venv: it writes down what it is asked for, and builds nothing.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT

PYTHON = f"""#!/bin/bash
case "$*" in
"-m venv"*) target=${{@: -1}}; mkdir -p "$target/bin"; cp "$0" "$target/bin/python" ;;
*"-m pip wheel"*)
  echo "build $CMAKE_ARGS" >>"$CALLS"
  if [[ $CMAKE_ARGS == *GGML_CUDA=ON* ]]; then echo "$FAILURE" >&2; exit 1; fi
  while [ "$1" != --wheel-dir ]; do shift; done
  touch "$2/llama.whl" ;;
*"-m pip install"*) echo install >>"$CALLS" ;;
*"import pip"*) ;;
*"sys.maxsize"*) exit "${{NARROW:-0}}" ;;
*) exec {sys.executable} "$@" ;;
esac
"""

NVCC = "#!/bin/bash\necho 'Cuda compilation tools, release 13.0, V13.0.48'\n"
NVIDIA_SMI = "#!/bin/bash\necho 'GPU 0: NVIDIA GeForce GTX 1080 (UUID: GPU-0)'\n"


def program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """As much of the repository as the script reads, and programs that stand for the machine's."""
    root = tmp_path / "checkout"
    for name in ("scripts/setup", "pyproject.toml", "edgeinfer/__init__.py"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, root / name)
    for name in ("scripts/llama", "requirements"):
        shutil.copytree(ROOT / name, root / name)
    program(tmp_path / "bin/python", PYTHON)
    program(tmp_path / "bin/nvcc", NVCC)
    program(tmp_path / "bin/nvidia-smi", NVIDIA_SMI)
    return root


def setup(checkout: Path, **environment: str) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """Run the script; -> what it printed, and what it asked Python for."""
    top = checkout.parent
    calls = top / "calls"
    calls.touch()
    done = subprocess.run(
        [checkout / "scripts/setup"],
        env={
            "PATH": f"{top / 'bin'}:{os.environ['PATH']}",
            "HOME": str(top),
            "XDG_CACHE_HOME": str(top / "cache"),
            "PYTHON": str(top / "bin/python"),
            "CALLS": str(calls),
            **environment,
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return done, calls.read_text().splitlines()


def test_a_cuda_build_that_fails_has_a_way_back(checkout: Path) -> None:
    """The next one is for the CPU, and the log of the first is kept."""
    done, calls = setup(checkout, FAILURE="nvcc fatal: Unsupported gpu architecture 'compute_61'")
    assert 0 == done.returncode, done.stderr
    assert [True, False] == ["GGML_CUDA=ON" in call for call in calls if call.startswith("build")]
    assert "building with CUDA failed" in done.stderr
    assert "install" in calls
    (log,) = (checkout.parent / "cache/edgeinfer/logs").glob("*.gpu")
    assert "compute_61" in log.read_text()


def test_a_build_that_fails_for_another_reason_is_not_tried_again(checkout: Path) -> None:
    """The CPU does not help against a full disk."""
    done, calls = setup(checkout, FAILURE="fatal error: No space left on device")
    assert 1 == done.returncode
    assert 1 == len(calls)
    assert "the disk is full" in done.stderr


def test_a_32_bit_system_is_refused_before_anything_is_built(checkout: Path) -> None:
    """What edgeinfer needs is not built for it."""
    done, calls = setup(checkout, NARROW="1")
    assert (1, []) == (done.returncode, calls)
    assert "32-bit" in done.stderr
    assert "hint: install the 64-bit system" in done.stderr
