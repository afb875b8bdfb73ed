"""What edgeinfer finds out about an emulated ARM processor."""

from __future__ import annotations

import json
import os

import pytest

from tests.support.arm_box import ArmBox

pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(1200)]

I8MM = ["neon", "dotprod", "fp16", "i8mm", "bf16"]

DETECT = """
import msgspec, sys
from edgeinfer.hardware import detect
sys.stdout.buffer.write(msgspec.json.encode(detect()))
"""


@pytest.mark.parametrize(
    ("cpu", "name", "isa"),
    [
        ("cortex-a53", "Cortex-A53", ["neon"]),
        ("cortex-a72", "Cortex-A72", ["neon"]),
        ("cortex-a76", "Cortex-A76", ["neon", "dotprod", "fp16"]),
        ("max,sve=off,sme=off", None, I8MM),
        ("max,sme=off", None, [*I8MM[:4], "sve", "bf16"]),
    ],
)
def test_the_processor_is_the_emulated_one(box: ArmBox, cpu: str, name: str | None, isa: list[str]) -> None:
    """All cores are of one kind, and there is no board whose facts it could be confused with."""
    machine = json.loads(box.run(cpu, "python3", "-c", DETECT))
    (kind,) = machine["cpus"]
    assert (name, isa) == (kind["name"], kind["isa"])
    assert list(range(os.cpu_count() or 1)) == kind["cpus"]
    assert "aarch64" == machine["system"]["machine"]
    assert [None, None, []] == [machine["board"], machine["npu"], machine["gpus"]]
