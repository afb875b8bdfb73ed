"""Matrix products as llama.cpp computes them for a layer of a model, by way of its library for the CPU."""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from edgeinfer.backends.llama_cpp.binding import libraries

Matrix = NDArray[np.float32]


class Format(NamedTuple):
    """A format of weights, and the functions of llama.cpp that multiply it with one row."""

    type: int
    elements: int
    block_bytes: int
    quantize: str
    vec_dot: str


Q4_0 = Format(2, 32, 18, "quantize_row_q8_0", "ggml_vec_dot_q4_0_q8_0")

Q6_K = Format(14, 256, 210, "quantize_row_q8_K", "ggml_vec_dot_q6_K_q8_K")

FORMATS = [
    pytest.param(Q4_0, id="Q4_0"),
    pytest.param(Format(8, 32, 34, "quantize_row_q8_0", "ggml_vec_dot_q8_0_q8_0"), id="Q8_0"),
    pytest.param(Format(12, 256, 144, "quantize_row_q8_K", "ggml_vec_dot_q4_K_q8_K"), id="Q4_K"),
    pytest.param(Q6_K, id="Q6_K"),
]

F32 = 0
"""ggml_type."""


class InitParams(ctypes.Structure):
    _fields_ = (
        ("mem_size", ctypes.c_size_t),
        ("mem_buffer", ctypes.c_void_p),
        ("no_alloc", ctypes.c_bool),
    )


def call(name: str, *arguments: Any) -> ctypes.c_void_p:
    """Call a function of ggml that returns a pointer or a number, if anything."""
    function = getattr(libraries.ggml(), name)
    function.restype = ctypes.c_void_p
    return ctypes.c_void_p(function(*(ctypes.c_int64(a) if isinstance(a, int) else a for a in arguments)))


def name_of(kind: ctypes.c_void_p) -> bytes:
    """Return what llama.cpp calls a kind of buffer."""
    return ctypes.string_at(call("ggml_backend_buft_name", kind).value or 0)


def new_tensor(context: ctypes.c_void_p, type_: int, shape: tuple[int, ...]) -> ctypes.c_void_p:
    return call(f"ggml_new_tensor_{len(shape)}d", context, type_, *reversed(shape))


@contextmanager
def new_context() -> Iterator[ctypes.c_void_p]:
    context = call("ggml_init", InitParams(1 << 20, None, True))
    yield context
    call("ggml_free", context)


@contextmanager
def buffer_for(context: ctypes.c_void_p, kind: ctypes.c_void_p) -> Iterator[None]:
    buffer = call("ggml_backend_alloc_ctx_tensors_from_buft", context, kind)
    yield
    call("ggml_backend_buffer_free", buffer)


class Processor:
    """The CPU as llama.cpp uses it, with weights repacked if there is a way for them."""

    def __init__(self, threads: int) -> None:
        self._device = call("ggml_backend_dev_by_type", 0)
        self._registry = call("ggml_backend_dev_backend_reg", self._device)
        self._backend = call("ggml_backend_dev_init", self._device, None)
        self._procedure("ggml_backend_set_n_threads", None)(self._backend, threads)

    def close(self) -> None:
        call("ggml_backend_free", self._backend)

    def multiplied(self, format_: Format, weights: Matrix, batches: Iterable[Matrix]) -> list[Matrix]:
        """Return the products of some batches of rows with weights that are quantized: with a matrix or several."""
        *matrices, columns, elements = weights.shape
        for kind in self._kinds_of_buffer():
            with new_context() as context:
                tensor = new_tensor(context, format_.type, weights.shape)
                with buffer_for(context, kind):
                    if self._takes(tensor, (*matrices, 1, elements)):
                        in_file = quantized(format_, weights.reshape(-1, elements))
                        call("ggml_backend_tensor_set", tensor, in_file, 0, len(in_file))
                        return [self._computed(tensor, batch, columns) for batch in batches]
        raise AssertionError("llama.cpp multiplies with no such weights")

    def _procedure(self, name: str, result: Any) -> Any:
        address = call("ggml_backend_reg_get_proc_address", self._registry, name.encode())
        return ctypes.CFUNCTYPE(result, ctypes.c_void_p, ctypes.c_int)(address.value or 0)

    def _kinds_of_buffer(self) -> list[ctypes.c_void_p]:
        """Those first that llama.cpp prefers."""
        get = self._procedure("ggml_backend_dev_get_extra_bufts", ctypes.POINTER(ctypes.c_void_p))
        extra = map(ctypes.c_void_p, itertools.takewhile(bool, get(self._device, 0)))
        ours = [kind for kind in extra if name_of(kind) != b"AMX"]  # whose products are llama.cpp's
        return [*ours, call("ggml_backend_dev_buffer_type", self._device)]

    def _takes(self, weights: ctypes.c_void_p, rows: tuple[int, ...]) -> bool:
        """Return whether llama.cpp multiplies rows of that shape with weights in their buffer."""
        with new_context() as context:
            out = call("ggml_mul_mat", context, weights, new_tensor(context, F32, rows))
            return bool((call("ggml_backend_dev_supports_op", self._device, out).value or 0) & 1)

    def _computed(self, weights: ctypes.c_void_p, rows: Matrix, columns: int) -> Matrix:
        with new_context() as context:
            row = new_tensor(context, F32, rows.shape)
            out = call("ggml_mul_mat", context, weights, row)
            graph = call("ggml_new_graph", context)
            call("ggml_build_forward_expand", graph, out)
            with buffer_for(context, call("ggml_backend_dev_buffer_type", self._device)):
                rows = np.ascontiguousarray(rows)
                call("ggml_backend_tensor_set", row, ctypes.c_void_p(rows.ctypes.data), 0, rows.nbytes)
                assert not call("ggml_backend_graph_compute", self._backend, graph).value
                result = np.zeros((*rows.shape[:-1], columns), np.float32)
                call("ggml_backend_tensor_get", out, ctypes.c_void_p(result.ctypes.data), 0, result.nbytes)
        return result


def quantized(format_: Format, weights: Matrix) -> ctypes.Array[ctypes.c_char]:
    columns, elements = weights.shape
    out = ctypes.create_string_buffer(weights.size // format_.elements * format_.block_bytes)
    data = ctypes.c_void_p(weights.ctypes.data)
    call("ggml_quantize_chunk", format_.type, data, out, 0, columns, elements, None)
    return out


@contextmanager
def processor(threads: int) -> Iterator[Processor]:
    processor = Processor(threads)
    yield processor
    processor.close()


def noise(rng: np.random.Generator, rows: int, elements: int) -> Matrix:
    return rng.standard_normal((rows, elements)).astype(np.float32)


def by_vec_dot(library: Path | None, format_: Format, weights: Matrix, rows: Matrix) -> Matrix:
    """Return the products that llama.cpp's function for one row and one column of a file computes."""
    loaded = ctypes.CDLL(str(library))
    columns, elements = weights.shape
    in_file, size = quantized(format_, weights), elements // format_.elements * format_.block_bytes
    out, dot, none = np.zeros((len(rows), columns), np.float32), ctypes.c_float(), ctypes.c_size_t(0)
    for r, row in enumerate(rows):
        activations = ctypes.create_string_buffer(2 * elements)
        getattr(loaded, format_.quantize)(
            ctypes.c_void_p(row.ctypes.data), activations, ctypes.c_int64(elements)
        )
        for c in range(columns):
            column = ctypes.byref(in_file, c * size)
            getattr(loaded, format_.vec_dot)(
                elements, ctypes.byref(dot), none, column, none, activations, none, 1
            )
            out[r, c] = dot.value
    return out


def assert_rows_as_alone(format_: Format, threads: int, shape: tuple[int, int]) -> Matrix:
    """Multiply 37 rows of noise one by one, and in batches of 2 to 17 and all together; return their products.

    The noise is of a generator whose seed is the shape, columns and elements: first the rows, then the weights.
    """
    rng = np.random.default_rng(shape)
    rows = noise(rng, 37, shape[1])
    alone = np.split(rows, len(rows))
    together = [rows[:count] for count in (*range(2, 18), len(rows))]
    with processor(threads) as cpu:
        products = cpu.multiplied(format_, noise(rng, *shape), [*alone, *together])
    expected = np.concatenate(products[: len(alone)])
    for product in products[len(alone) :]:
        np.testing.assert_array_equal(product, expected[: len(product)])
    return expected


def assert_close_to_vec_dot(library: Path | None, format_: Format, shape: tuple[int, int]) -> None:
    """Multiply noise; llama.cpp's function for one row adds in another order."""
    rng = np.random.default_rng(0)
    weights, rows = noise(rng, *shape), noise(rng, 5, shape[1])
    expected = by_vec_dot(library, format_, weights, rows)
    with processor(2) as cpu:
        (actual,) = cpu.multiplied(format_, weights, [rows])
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())
