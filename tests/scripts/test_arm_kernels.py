"""Compares our own matrix products for 64-bit ARM with those of llama.cpp. tests/arm/ runs this on an emulated machine."""

from __future__ import annotations

import platform

import pytest

from edgeinfer.backends.llama_cpp.binding import libraries
from tests.support.processor import FORMATS, Format, assert_close_to_vec_dot, assert_rows_as_alone

CPU = libraries.cpu_library() if platform.machine() == "aarch64" else None

pytestmark = pytest.mark.skipif(
    not libraries.has_kernels(CPU), reason="needs a 64-bit ARM CPU and our kernels"
)

needs_plain = pytest.mark.skipif(
    libraries.variant(CPU) != "armv8.0_1",
    reason="on this CPU, weights that cannot be repacked are llama.cpp's",
)


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize(
    ("threads", "shape"),
    [
        (1, (8, 256)),
        (2, (24, 1024)),
        (3, (208, 512)),
        pytest.param(1, (1, 256), marks=needs_plain),
        pytest.param(2, (203, 512), marks=needs_plain),
    ],
)
def test_a_row_has_the_same_product_alone_and_among_others(
    format_: Format, threads: int, shape: tuple[int, int]
) -> None:
    """In batches of 2 to 17, and of more than are computed at once."""
    assert_rows_as_alone(format_, threads, shape)


@pytest.mark.parametrize("format_", FORMATS)
def test_products_are_those_of_llama_cpp(format_: Format) -> None:
    """Its way for one row and weights as they lie in the file, which adds in another order."""
    assert_close_to_vec_dot(CPU, format_, (40, 1280))
