"""Our own matrix products on emulated ARM processors."""

from __future__ import annotations

import pytest

from tests.support.arm_shell import checkout_box, in_checkout

pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(1800)]

PYTEST = ("python3", "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/scripts/test_arm_kernels.py")


@pytest.mark.parametrize("cpu", ["cortex-a72", "cortex-a76", "max,sme=off"])
def test_products_on_each_processor(cpu: str) -> None:
    """Without instructions for dot products, with them, and with those for products of matrices."""
    with checkout_box(cpu) as box:
        output = box.run(*in_checkout(PYTEST))
    assert " passed" in output
    assert "needs a 64-bit ARM CPU and our kernels" not in output
