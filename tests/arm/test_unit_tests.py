"""Tests of what depends on the processor most pass on ARM; scripts/test-arm --units runs the others there."""

from __future__ import annotations

import pytest

from tests.support.arm_shell import PI_5, UNITS, checkout_box, in_checkout

pytestmark = [pytest.mark.heavy, pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(1800)]

PATHS = (
    "tests/hardware",
    "tests/ipc/confinement",
)
"""What the machine is, and system calls, whose numbers differ."""


def test_units_pass_on_arm() -> None:
    with checkout_box(PI_5) as box:
        done = box.attempt(*in_checkout((*UNITS, *PATHS)), seconds=1800)
    assert 0 == done.returncode, done.stdout
