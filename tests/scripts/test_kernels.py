"""Compares our own matrix-product kernels with those of llama.cpp."""

from __future__ import annotations

import ctypes
import itertools
from pathlib import Path
from typing import NamedTuple

import llama_cpp.llama_cpp as lib
import numpy as np
import pytest
from numpy.typing import NDArray

from edgeinfer.backends.llama_cpp.binding import libraries
from tests.support.processor import (
    FORMATS,
    Q6_K,
    Format,
    assert_close_to_vec_dot,
    assert_rows_as_alone,
    noise,
    processor,
)
from tests.support.processor import Q4_0 as Q4_0_FORMAT
from tests.support.processor import quantized as as_in_file

FOLDER = Path(lib._lib._name).parent
CPU = ctypes.CDLL(str(FOLDER / "libggml-cpu.so")) if (FOLDER / "libggml-cpu.so").exists() else None

pytestmark = pytest.mark.skipif(
    not hasattr(CPU, "__wrap_ggml_cpu_extra_work_size"), reason="scripts/setup adds them on Linux and x86-64"
)

Matrix = NDArray[np.float32]


class Kind(NamedTuple):
    """A format of weights that llama.cpp repacks in blocks of eight columns."""

    name: str
    scales: int  # 16-bit numbers at the beginning of a block
    block_bytes: int
    elements: int
    row_bytes: int  # size of a block of quantized activations
    quantize: str


Q4_0 = Kind("q4_0_8x8_q8_0", 8, 144, 32, 34, "quantize_row_q8_0")
Q4_K = Kind("q4_K_8x8_q8_K", 16, 1152, 256, 292, "quantize_row_q8_K")

INTERLEAVED = pytest.mark.parametrize("kind", [Q4_0, Q4_K], ids=["Q4_0", "Q4_K"])


@pytest.fixture(autouse=True, scope="module")
def cpu() -> None:
    assert CPU is not None
    CPU.ggml_cpu_init()  # fills the tables of 16-bit numbers


def interleaved(kind: Kind, rng: np.random.Generator, columns: int, blocks: int) -> bytes:
    out = rng.integers(0, 256, (columns // 8, blocks, kind.block_bytes)).astype(np.uint8)
    scales = rng.uniform(0.001, 0.02, (columns // 8, blocks, kind.scales)).astype(np.float16)
    out[..., : 2 * kind.scales] = scales.view(np.uint8)
    return out.tobytes()


def quantized(kind: Kind, row: Matrix) -> ctypes.Array[ctypes.c_char]:
    """A row of activations, quantized by llama.cpp's own function."""
    out = ctypes.create_string_buffer(row.size // kind.elements * kind.row_bytes)
    getattr(CPU, kind.quantize)(ctypes.c_void_p(row.ctypes.data), out, ctypes.c_int64(row.size))
    return out


def product(function: str, elements: int, weights: bytes, rows: object, count: int, columns: int) -> Matrix:
    out = np.zeros((count, columns), np.float32)
    getattr(CPU, function)(
        ctypes.c_int(elements),
        ctypes.c_void_p(out.ctypes.data),
        ctypes.c_size_t(columns),
        weights,
        rows,
        ctypes.c_int(count),
        ctypes.c_int(columns),
    )
    return out


@INTERLEAVED
@pytest.mark.parametrize("columns", [8, 16, 24, 112])
@pytest.mark.parametrize("blocks", [1, 2, 7, 60])
def test_products_of_one_row_are_those_of_llama_cpp(kind: Kind, columns: int, blocks: int) -> None:
    """As for the experts of a model, whose rows come one by one."""
    rng = np.random.default_rng([columns, blocks])
    elements = blocks * kind.elements
    weights = interleaved(kind, rng, columns, blocks)
    row = quantized(kind, noise(rng, 1, elements))
    ours, theirs = (
        product(f"{wrap}ggml_gemv_{kind.name}", elements, weights, row, 1, columns)
        for wrap in ("__wrap_", "")
    )
    assert np.isfinite(theirs).all()
    np.testing.assert_array_equal(ours, theirs)


@INTERLEAVED
@pytest.mark.parametrize("sign", [1, -1])
def test_the_largest_weights_and_activations_of_one_row_are_added_up_exactly(kind: Kind, sign: int) -> None:
    """Sums of few bits must have room for them."""
    columns, blocks = 16, 2
    elements = blocks * kind.elements
    fifteen = 0x77 if kind is Q4_0 else 0xFF  # llama.cpp flips the highest bit of Q4_0
    weights = np.full((columns // 8, blocks, kind.block_bytes), 0xFF, np.uint8)
    weights[..., : 2 * kind.scales] = np.full(kind.scales, 0.01, np.float16).view(np.uint8)
    weights[..., -8 * kind.elements // 2 :] = fifteen
    values = np.full((1, elements), sign * 127.0, np.float32)
    row = quantized(kind, values)
    ours, theirs = (
        product(f"{wrap}ggml_gemv_{kind.name}", elements, weights.tobytes(), row, 1, columns)
        for wrap in ("__wrap_", "")
    )
    assert np.abs(theirs).min() > 100
    np.testing.assert_array_equal(ours, theirs)


REPACKED = {2, 12}
"""Types that llama.cpp repacks, if there are eight columns."""


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize(
    ("threads", "shape"),
    list(
        itertools.product(
            [1, 2, 3],
            [(8, 256), (24, 1024), (208, 512), (1000, 256), (2000, 512), (1, 256), (15, 512), (1003, 256)],
        ),
    ),
    ids=str,
)
def test_a_row_of_weights_has_the_same_product_alone_and_among_others(
    format_: Format, threads: int, shape: tuple[int, int]
) -> None:
    """In batches of 2 to 17, and of more than are computed at once."""
    if format_.type in REPACKED and shape[0] % 8:
        pytest.skip("llama.cpp's own product")
    assert_rows_as_alone(format_, threads, shape)


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("shape", [(40, 1280), (208, 768)], ids=str)
def test_products_with_weights_are_those_of_llama_cpp(format_: Format, shape: tuple[int, int]) -> None:
    """Its way for one row and weights as they lie in the file, which adds in another order."""
    assert_close_to_vec_dot(libraries.cpu_library(), format_, shape)


def test_products_with_q4_0_are_to_the_bit_those_of_llama_cpp() -> None:
    """Of its function for one row, and weights that are interleaved here."""
    rng = np.random.default_rng(0)
    columns, blocks = 208, 24
    weights, rows = noise(rng, columns, blocks * 32), noise(rng, 19, blocks * 32)
    in_file = np.frombuffer(as_in_file(Q4_0_FORMAT, weights).raw, np.uint8).reshape(-1, 8, blocks, 18)
    scales = in_file[..., :2].swapaxes(1, 2).reshape(-1, blocks, 16)
    eights = in_file[..., 2:].reshape(-1, 8, blocks, 2, 8).transpose(0, 2, 3, 1, 4).reshape(-1, blocks, 128)
    repacked = np.concatenate([scales, eights ^ 0x88], axis=-1).tobytes()
    alone = [
        product(f"ggml_gemv_{Q4_0.name}", blocks * 32, repacked, quantized(Q4_0, row), 1, columns)
        for row in rows
    ]
    with processor(2) as cpu:
        (together,) = cpu.multiplied(Q4_0_FORMAT, weights, [rows])
    np.testing.assert_array_equal(together, np.concatenate(alone))


@pytest.mark.parametrize("format_", FORMATS)
def test_rows_of_several_matrices_are_multiplied_as_those_of_one(format_: Format) -> None:
    """Of two, with more rows than are computed at once."""
    rng = np.random.default_rng(0)
    weights, rows = noise(rng, 24, 512), noise(rng, 2 * 11, 512)
    with processor(2) as cpu:
        flat, deep = cpu.multiplied(format_, weights, [rows, rows.reshape(2, 11, 512)])
    np.testing.assert_array_equal(deep.reshape(flat.shape), flat)


def test_superblocks_of_activations_are_quantized_as_by_llama_cpp() -> None:
    """Each column has a weight for one element, so that its product is what became of that element."""
    rng = np.random.default_rng(0)
    rows = noise(rng, 40, 512)
    signs = np.where(np.arange(512) % 2, 3.0, -3.0)
    rows[1], rows[2] = signs, -signs  # the first of the largest numbers gives the scale its sign
    rows[3] = np.arange(512) % 255 - 127.0
    rows[4] = rows[3] / 2  # numbers that lie in the middle between two
    rows[5, :256] = 0
    rows[6] *= 1e-30
    rows[7, 300] = 1e6
    in_blocks = np.dtype([("scale", "<f4"), ("quants", "i1", 256), ("sums", "<i2", 16)])
    blocks = [np.frombuffer(quantized(Q4_K, row).raw, in_blocks) for row in rows]
    expected = np.array([(block["scale"][:, None] * block["quants"]).ravel() for block in blocks])
    with processor(2) as cpu:
        (actual,) = cpu.multiplied(Q6_K, np.eye(512, dtype=np.float32), [rows])
    weights = np.abs(actual).max(axis=0) / np.abs(expected).max(axis=0)
    np.testing.assert_allclose(weights, 1, rtol=1e-3)
    np.testing.assert_allclose(actual, expected * weights, rtol=1e-5)


@pytest.mark.parametrize("format_", FORMATS)
def test_the_largest_weights_are_added_up_exactly(format_: Format) -> None:
    """A block has the lowest and the highest number of its format."""
    elements = 768
    weights = np.repeat(np.array([[1.0], [-1.0]], np.float32), 12, axis=0).repeat(elements, axis=1)
    weights[:, ::2] *= -1
    rows = np.where(np.arange(elements) % 2, 1.0, -1.0).astype(np.float32) * np.array([[1], [-1]], np.float32)
    with processor(2) as cpu:
        products = cpu.multiplied(format_, weights, [rows[:1], rows[1:], np.repeat(rows, 9, axis=0)])
    for row, together in zip(products[:2], np.split(products[2], 2), strict=True):
        np.testing.assert_array_equal(together, np.repeat(row, 9, axis=0))
    bound = (
        0.15 if format_.type in REPACKED else 0.05
    )  # one and minus one are not both in a block of Q4_0 or Q4_K
    np.testing.assert_allclose(products[2], np.repeat(rows, 9, axis=0) @ weights.T, rtol=bound)


FLOATS = [
    pytest.param(Format(0, 1, 4, "", ""), id="F32"),
    pytest.param(Format(1, 1, 2, "", ""), id="F16"),
]


@pytest.mark.parametrize("format_", FLOATS)
@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize(
    "shape",
    [(1, 64), (6, 40), (7, 20), (64, 256), (1003, 64), (3001, 512), (67, 4096), (13, 8208), (5, 16400)],
    ids=str,
)
def test_products_of_floats_are_right_and_the_same_alone(
    format_: Format, threads: int, shape: tuple[int, int]
) -> None:
    """As keys, values and weights of F16 are; also of lengths that fill no vector, and of many columns."""
    alone = assert_rows_as_alone(format_, threads, shape)
    rng = np.random.default_rng(shape)
    rows, weights = noise(rng, len(alone), shape[1]), noise(rng, *shape)
    if format_.block_bytes == 2:
        weights, rows = weights.astype(np.float16), rows.astype(np.float16)
    expected = rows.astype(np.float64) @ weights.astype(np.float64).T
    long = shape[1] > 8208  # errors add up with the numbers
    np.testing.assert_allclose(alone, expected, rtol=1e-4, atol=4e-4 if long else 1e-4)


@pytest.mark.parametrize("format_", FLOATS)
@pytest.mark.parametrize("shape", [(40, 64), (1003, 64), (70, 4096)], ids=str)
@pytest.mark.parametrize("count", [1, 3, 70])
def test_heads_that_share_keys_have_the_products_of_each_alone(
    format_: Format, shape: tuple[int, int], count: int
) -> None:
    """Three heads of queries for each of two of keys, with few rows and with more than are computed together."""
    rng = np.random.default_rng(0)
    keys = noise(rng, 2 * shape[0], shape[1]).reshape(2, *shape)
    queries = noise(rng, 6 * count, shape[1]).reshape(6, count, shape[1])
    with processor(2) as cpu:
        (together,) = cpu.multiplied(format_, keys, [queries])
        for head, product in enumerate(together):
            (alone,) = cpu.multiplied(format_, keys[head // 3], [queries[head]])
            np.testing.assert_array_equal(product, alone)
