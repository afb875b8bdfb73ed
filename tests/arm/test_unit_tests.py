"""Tests of what depends on the processor most pass on ARM; scripts/test-arm --on runs others there."""

from __future__ import annotations

import pytest

from tests.support.arm_shell import checkout_box, in_checkout

pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(1800)]

FOLDER = "tests/hardware"


def test_units_pass_on_arm() -> None:
    """On a Raspberry Pi 5's core; those that are slow already, or measure time, are left out."""
    run = ("python3", "-m", "pytest", "--quiet", "--tb=short", "-p", "no:cacheprovider", "--timeout=1200")
    how = ("--numprocesses=2", "-m", "not slow and not alone")
    with checkout_box("cortex-a76") as box:
        done = box.attempt(*in_checkout((*run, *how, FOLDER)), seconds=1800)
    assert 0 == done.returncode, done.stdout
