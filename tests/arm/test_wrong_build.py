"""llama.cpp built for the cores of a Raspberry Pi 5 alone, on those of a Pi 4."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.arm.conftest import SERVE
from tests.support import arm_layers
from tests.support.arm_box import ArmBox, open_box

pytestmark = [pytest.mark.heavy, pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(1800)]

PI_5 = "libggml-cpu-armv8.2_2.so"
"""The part of the wheel that is compiled for a Raspberry Pi 5, -march=armv8.2-a+dotprod+fp16."""

REASON = "llama.cpp was built for a CPU with dotprod, fp16, and this one (Cortex-A72) lacks them"


@pytest.fixture(scope="module")
def wrong(edgeinfer: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ArmBox]:
    """A machine with a llama.cpp that has one part for the CPU, and takes it without asking whether it may."""
    layer = tmp_path_factory.mktemp("fixed")
    shutil.copytree(arm_layers.llama(), layer, dirs_exist_ok=True, symlinks=True)
    libraries = layer / arm_layers.SITE / "llama_cpp/lib"
    code = (libraries / PI_5).read_bytes()
    asked = b"\0ggml_backend_score\0"
    assert 1 == code.count(asked)
    for variant in libraries.glob("libggml-cpu-*"):
        variant.unlink()
    for name in ("libggml-cpu.so", "libggml-cpu-fixed.so"):  # the second has our code look for the first
        (libraries / name).write_bytes(code.replace(asked, asked.upper()))
    with open_box("cortex-a72", [edgeinfer, layer, arm_layers.dependencies(), arm_layers.system()]) as box:
        yield box


def test_a_daemon_ends_with_the_reason_and_what_to_do(wrong: ArmBox) -> None:
    """The worker's self-test meets the instruction that this CPU lacks; no other worker is tried."""
    done = wrong.attempt("python3", *SERVE)
    assert 3 == done.returncode, done.stderr
    assert REASON in done.stderr
    assert "scripts/setup" in done.stderr


def test_doctor_names_it(wrong: ArmBox) -> None:
    """The report is red, and has the command that helps."""
    done = wrong.attempt("python3", "-m", "edgeinfer", "doctor")
    assert 1 == done.returncode, done.stderr
    assert REASON in " ".join(done.stdout.split())
