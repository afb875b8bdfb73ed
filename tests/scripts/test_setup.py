"""scripts/setup where the machine does not suit: a CUDA toolkit that fails, a 32-bit system."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.checkout import make_checkout, program, setup

NVCC = "#!/bin/bash\necho 'Cuda compilation tools, release 13.0, V13.0.48'\n"
NVIDIA_SMI = "#!/bin/bash\necho 'GPU 0: NVIDIA GeForce GTX 1080 (UUID: GPU-0)'\n"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout on a machine with an NVIDIA card."""
    program(tmp_path / "bin/nvcc", NVCC)
    program(tmp_path / "bin/nvidia-smi", NVIDIA_SMI)
    return make_checkout(tmp_path)


def test_a_cuda_build_that_fails_has_a_way_back(checkout: Path) -> None:
    """The next one is for the CPU, and the log of the first is kept."""
    done, calls = setup(checkout, FAILURE="nvcc fatal: Unsupported gpu architecture 'compute_61'")
    assert 0 == done.returncode, done.stderr
    assert [True, False] == ["GGML_CUDA=ON" in call for call in calls if call.startswith("build")]
    assert "building with CUDA failed" in done.stderr
    assert any("pip install" in call for call in calls)
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
    done, calls = setup(checkout, MAXSIZE=str(2**31 - 1))
    assert (1, []) == (done.returncode, calls)
    assert "error: the programs of this system are 32-bit" in done.stderr
    assert "hint: install the 64-bit system" in done.stderr


def test_an_old_python_is_told_with_where_newer_ones_are(checkout: Path) -> None:
    """The package manager of its system has no other."""
    old = checkout.parent / "old/python3"
    program(old, "#!/bin/bash\ncase $2 in *exit*) exit 1 ;; *) echo 3.9.2 ;; esac\n")
    done, calls = setup(checkout, PYTHON=str(old))
    assert (1, []) == (done.returncode, calls)
    assert f"error: {old} is Python 3.9.2, and edgeinfer needs 3.10 or newer" in done.stderr
    assert "hint: upgrade the system" in done.stderr
    assert "apt install" not in done.stderr
