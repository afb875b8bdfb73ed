"""Our own matrix products on emulated ARM processors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.support.arm_shell import checkout_box, in_checkout, layers
from tests.support.selection import selected

pytestmark = [pytest.mark.heavy, pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(1800)]

PYTEST = ("python3", "-m", "pytest", "-q", "-p", "no:cacheprovider")
TESTS = "tests/scripts/test_arm_kernels.py"
CPUS = ("cortex-a72", "cortex-a76", "max,sme=off")


def run_on(cpu: str) -> str:
    with checkout_box(cpu) as box:
        return box.run(*in_checkout((*PYTEST, TESTS)))


@pytest.fixture(scope="module")
def outputs(request: pytest.FixtureRequest) -> Iterator[Mapping[str, Future[str]]]:
    """Two at a time, on one core each."""
    layers()  # before two machines make them at once
    with ThreadPoolExecutor(2) as executor:
        yield {cpu: executor.submit(run_on, cpu) for cpu in selected(request, "cpu")}


@pytest.mark.parametrize("cpu", CPUS)
def test_products_on_each_processor(outputs: Mapping[str, Future[str]], cpu: str) -> None:
    """Without instructions for dot products, with them, and with those for products of matrices."""
    output = outputs[cpu].result()
    assert " passed" in output
    assert "needs a 64-bit ARM CPU and our kernels" not in output
