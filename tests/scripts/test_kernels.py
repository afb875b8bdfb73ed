"""Compares our own matrix-product kernels with those of llama.cpp."""

from __future__ import annotations

import ctypes
import itertools
from pathlib import Path
from typing import Any, NamedTuple

import llama_cpp.llama_cpp as lib
import numpy as np
import pytest
from numpy.typing import NDArray

FOLDER = Path(lib._lib._name).parent
CPU = ctypes.CDLL(str(FOLDER / "libggml-cpu.so")) if (FOLDER / "libggml-cpu.so").exists() else None

pytestmark = pytest.mark.skipif(
    not hasattr(CPU, "__wrap_llamafile_sgemm"), reason="scripts/setup adds them on Linux and x86-64"
)

Matrix = NDArray[np.float32]


class Kind(NamedTuple):
    """A format of weights that llama.cpp repacks in blocks of eight columns."""

    name: str
    scales: int  # 16-bit numbers at the beginning of a block
    block_bytes: int
    elements: int
    row_bytes: int  # size of a block of quantized activations
    quantize_four: str
    quantize_one: str


Q4_0 = Kind("q4_0_8x8_q8_0", 8, 144, 32, 34, "ggml_quantize_mat_q8_0_4x8", "quantize_row_q8_0")
Q4_K = Kind("q4_K_8x8_q8_K", 16, 1152, 256, 292, "ggml_quantize_mat_q8_K_4x8", "quantize_row_q8_K")

INTERLEAVED = pytest.mark.parametrize("kind", [Q4_0, Q4_K], ids=["Q4_0", "Q4_K"])


@pytest.fixture(autouse=True, scope="module")
def cpu() -> None:
    assert CPU is not None
    CPU.ggml_cpu_init()  # fills the tables of 16-bit numbers


def noise(rng: np.random.Generator, rows: int, elements: int) -> Matrix:
    return rng.standard_normal((rows, elements)).astype(np.float32)


def interleaved(kind: Kind, rng: np.random.Generator, columns: int, blocks: int) -> bytes:
    out = rng.integers(0, 256, (columns // 8, blocks, kind.block_bytes)).astype(np.uint8)
    scales = rng.uniform(0.001, 0.02, (columns // 8, blocks, kind.scales)).astype(np.float16)
    out[..., : 2 * kind.scales] = scales.view(np.uint8)
    return out.tobytes()


def quantized(function: str, rows: Matrix, at_once: int, row_bytes: int) -> ctypes.Array[ctypes.c_char]:
    """Activations quantized by llama.cpp's own function, which takes `at_once` rows."""
    out = ctypes.create_string_buffer(len(rows) * row_bytes)
    for first in range(0, len(rows), at_once):
        getattr(CPU, function)(
            ctypes.c_void_p(rows[first:].ctypes.data),
            ctypes.byref(out, first * row_bytes),
            ctypes.c_int64(rows.shape[1]),
        )
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
def test_products_of_many_rows_are_those_of_llama_cpp(kind: Kind, columns: int, blocks: int) -> None:
    rng = np.random.default_rng([columns, blocks])
    elements = blocks * kind.elements
    weights = interleaved(kind, rng, columns, blocks)
    for count in (4, 8, 12, 16, 20, 36):
        rows = quantized(kind.quantize_four, noise(rng, count, elements), 4, blocks * kind.row_bytes)
        ours, theirs = (
            product(f"{wrap}ggml_gemm_{kind.name}", elements, weights, rows, count, columns)
            for wrap in ("__wrap_", "")
        )
        assert np.isfinite(theirs).all()
        if kind is Q4_0:
            np.testing.assert_array_equal(ours, theirs)
        else:  # llama.cpp rounds more often here
            np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5 * np.abs(theirs).max())


@INTERLEAVED
@pytest.mark.parametrize(("columns", "blocks"), [(8, 1), (24, 2), (112, 7)])
def test_a_row_has_the_same_product_alone_and_among_others(kind: Kind, columns: int, blocks: int) -> None:
    rng = np.random.default_rng([columns, blocks])
    elements = blocks * kind.elements
    weights = interleaved(kind, rng, columns, blocks)
    values = rng.integers(-127, 128, (8, elements)).astype(np.float32)
    values[:, :: kind.elements] = -127  # so that both ways to quantize hold them exactly
    rows = quantized(kind.quantize_four, values, 4, blocks * kind.row_bytes)
    together = product(f"__wrap_ggml_gemm_{kind.name}", elements, weights, rows, 8, columns)
    for value, expected in zip(values, together, strict=True):
        row = quantized(kind.quantize_one, value[None], 1, blocks * kind.row_bytes)
        for wrap in ("", "__wrap_"):
            single = product(f"{wrap}ggml_gemv_{kind.name}", elements, weights, row, 1, columns)
            np.testing.assert_array_equal(single[0], expected)


@INTERLEAVED
def test_the_largest_weights_and_activations_are_added_up_exactly(kind: Kind) -> None:
    """Sums of few bits must have room for them."""
    columns, blocks = 16, 2
    elements = blocks * kind.elements
    fifteen = 0x77 if kind is Q4_0 else 0xFF  # llama.cpp flips the highest bit of Q4_0
    weights = np.full((columns // 8, blocks, kind.block_bytes), 0xFF, np.uint8)
    weights[..., : 2 * kind.scales] = np.full(kind.scales, 0.01, np.float16).view(np.uint8)
    weights[..., -8 * kind.elements // 2 :] = fifteen
    for sign in (1, -1):
        values = np.full((4, elements), sign * 127.0, np.float32)
        rows = quantized(kind.quantize_four, values, 4, blocks * kind.row_bytes)
        row = quantized(kind.quantize_one, values[:1], 1, blocks * kind.row_bytes)
        expected = product(f"ggml_gemv_{kind.name}", elements, weights.tobytes(), row, 1, columns)
        alone = product(f"__wrap_ggml_gemv_{kind.name}", elements, weights.tobytes(), row, 1, columns)
        together = product(f"__wrap_ggml_gemm_{kind.name}", elements, weights.tobytes(), rows, 4, columns)
        assert np.abs(expected).min() > 100
        np.testing.assert_array_equal(alone, expected)
        np.testing.assert_array_equal(together, np.repeat(expected, 4, axis=0))


class InitParams(ctypes.Structure):
    _fields_ = (
        ("mem_size", ctypes.c_size_t),
        ("mem_buffer", ctypes.c_void_p),
        ("no_alloc", ctypes.c_bool),
    )


F32, F16 = 0, 1
"""ggml_type."""


def computed(kind: int, weights: Matrix, rows: Matrix, threads: int) -> Matrix:
    """Rows times columns, as llama.cpp computes a layer of a model whose weights are quantized to `kind`."""
    base = ctypes.CDLL(str(FOLDER / "libggml-base.so"))

    def call(name: str, *arguments: Any) -> ctypes.c_void_p:
        function = getattr(base, name)
        function.restype = ctypes.c_void_p
        return ctypes.c_void_p(function(*arguments))

    long = ctypes.c_int64
    columns, elements = weights.shape
    context = call("ggml_init", InitParams(64 << 20, None, False))
    a = call("ggml_new_tensor_2d", context, kind, long(elements), long(columns))
    b = call("ggml_new_tensor_2d", context, F32, long(elements), long(len(rows)))
    out = call("ggml_mul_mat", context, a, b)
    data = ctypes.c_void_p(weights.ctypes.data)
    call(
        "ggml_quantize_chunk",
        kind,
        data,
        call("ggml_get_data", a),
        long(0),
        long(columns),
        long(elements),
        None,
    )
    ctypes.memmove(call("ggml_get_data", b), rows.ctypes.data, rows.nbytes)
    graph = call("ggml_new_graph", context)
    call("ggml_build_forward_expand", graph, out)
    assert CPU is not None
    assert CPU.ggml_graph_compute_with_ctx(context, graph, threads) == 0
    values = ctypes.cast(call("ggml_get_data", out), ctypes.POINTER(ctypes.c_float))
    result = np.ctypeslib.as_array(values, (len(rows), columns)).copy()
    call("ggml_free", context)
    return result


class Plain(NamedTuple):
    """A format of weights that stay as they are in the file."""

    type: int
    block_bytes: int
    elements: int
    quantize: str
    vec_dot: str


PLAIN = [
    pytest.param(Plain(8, 34, 32, "quantize_row_q8_0", "ggml_vec_dot_q8_0_q8_0"), id="Q8_0"),
    pytest.param(Plain(14, 210, 256, "quantize_row_q8_K", "ggml_vec_dot_q6_K_q8_K"), id="Q6_K"),
]
SHAPES = [(1, 256), (15, 512), (16, 768), (1003, 256), (2000, 512)]


def assert_rows_as_alone(kind: int, threads: int, shape: tuple[int, int]) -> Matrix:
    """Compute rows of noise together and one by one; -> their product."""
    columns, elements = shape
    rng = np.random.default_rng(shape)
    weights, rows = noise(rng, columns, elements), noise(rng, 37, elements)
    alone = np.concatenate([computed(kind, weights, row[None], threads) for row in rows])
    for count in (2, 3, 4, 5, 8, 16, 17, 37):
        np.testing.assert_array_equal(computed(kind, weights, rows[:count], threads), alone[:count])
    return alone


@pytest.mark.parametrize("kind", PLAIN)
@pytest.mark.parametrize(("threads", "shape"), list(itertools.product([1, 2, 3], SHAPES)))
def test_many_rows_are_computed_as_each_alone(kind: Plain, threads: int, shape: tuple[int, int]) -> None:
    assert_rows_as_alone(kind.type, threads, shape)


@pytest.mark.parametrize("kind", PLAIN)
def test_the_largest_weights_in_the_file_are_added_up_exactly(kind: Plain) -> None:
    elements = 768
    weights = np.repeat(np.array([[1.0], [-1.0]], np.float32), 11, axis=0).repeat(elements, axis=1)
    weights[:, ::2] *= -1  # so that a block has its lowest and its highest number
    rows = np.where(np.arange(elements) % 2, 1.0, -1.0).astype(np.float32) * np.array([[1], [-1]], np.float32)
    together = computed(kind.type, weights, rows, 2)
    for row, expected in zip(rows, together, strict=True):
        np.testing.assert_array_equal(computed(kind.type, weights, row[None], 2)[0], expected)
    np.testing.assert_allclose(together, rows @ weights.T, rtol=0.05)


@pytest.mark.parametrize("kind", [F32, F16], ids=["F32", "F16"])
@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize(
    "shape",
    [(1, 64), (6, 40), (7, 20), (64, 256), (1003, 64), (3001, 512), (67, 4096), (13, 8208), (5, 16400)],
    ids=str,
)
def test_products_of_floats_are_right_and_the_same_alone(
    kind: int, threads: int, shape: tuple[int, int]
) -> None:
    """As keys, values and weights of F16 are; also of lengths that fill no vector, and of many columns."""
    alone = assert_rows_as_alone(kind, threads, shape)
    rng = np.random.default_rng(shape)
    weights, rows = noise(rng, *shape), noise(rng, 37, shape[1])
    if kind == F16:
        weights, rows = weights.astype(np.float16), rows.astype(np.float16)
    expected = rows.astype(np.float64) @ weights.astype(np.float64).T
    long = shape[1] > 8208  # errors add up with the numbers
    np.testing.assert_allclose(alone, expected, rtol=1e-4, atol=4e-4 if long else 1e-4)


@pytest.mark.parametrize("kind", PLAIN)
def test_products_of_columns_as_they_lie_in_the_file_are_those_of_llama_cpp(kind: Plain) -> None:
    rng = np.random.default_rng(0)
    columns, elements, size = 203, 768, 768 // kind.elements * kind.block_bytes
    weights, rows = noise(rng, columns, elements), noise(rng, 3, elements)
    in_file = ctypes.create_string_buffer(columns * size)
    base = ctypes.CDLL(str(FOLDER / "libggml-base.so"))
    long, data = ctypes.c_int64, ctypes.c_void_p(weights.ctypes.data)
    base.ggml_quantize_chunk(kind.type, data, in_file, long(0), long(columns), long(elements), None)
    expected, dot = np.zeros((len(rows), columns), np.float32), ctypes.c_float()
    for r, row in enumerate(rows):
        activations = quantized(kind.quantize, row[None], 1, 4 * elements)
        for c in range(columns):
            column = ctypes.byref(in_file, c * size)
            zero = ctypes.c_size_t(0)
            getattr(CPU, kind.vec_dot)(elements, ctypes.byref(dot), zero, column, zero, activations, zero, 1)
            expected[r, c] = dot.value
    actual = computed(kind.type, weights, rows, 2)
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())
