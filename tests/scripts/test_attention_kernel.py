"""Our attention is that of the textbook, and a token's is the same to the bit beside others."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pytest

from edgeinfer.backends.llama_cpp.binding.libraries import cpu_library, ggml
from edgeinfer.hardware import detect
from edgeinfer.plan.kernels import has_kernels
from tests.support.processor import F32, InitParams

pytestmark = pytest.mark.skipif(
    not has_kernels(detect()), reason="scripts/setup adds the kernel on Linux and x86-64, for AVX2"
)

F16 = 1
"""ggml_type."""

THREADS = 3
MEMORY = 64_000_000

Floats = npt.NDArray[np.float32]


class Case(NamedTuple):
    """Sizes of an attention, and what it does beyond a weighted mean.

    Attributes:
        cells: of the cache; as many are visible to the first token as to leave the others one more each.
        cap: what scores are softly capped at; 0 leaves them as they are.
        bias: the greatest of ALiBi; 0 is none.
        sinks: there is a score for each head that takes part without a value.
    """

    tokens: int = 5
    cells: int = 256
    heads: int = 14
    kv_heads: int = 2
    key: int = 64
    value: int = 64
    streams: int = 1
    cap: float = 0.0
    bias: float = 0.0
    sinks: bool = False
    masked: bool = True


CASES = {
    "as Qwen2.5 0.5B": Case(),
    "one token": Case(tokens=1),
    "many tokens": Case(tokens=70, cells=384),
    "streams": Case(tokens=2, streams=3),
    "heads of 128": Case(heads=12, key=128, value=128),
    "heads of 80": Case(heads=8, kv_heads=8, key=80, value=80),
    "keys wider than values": Case(heads=4, kv_heads=1, key=192, value=128),
    "one head": Case(heads=1, kv_heads=1),
    "no mask": Case(masked=False),
    "capped": Case(cap=5.0),
    "ALiBi": Case(heads=12, kv_heads=12, bias=8.0),
    "sinks": Case(heads=8, sinks=True),
}


class Inputs(NamedTuple):
    """Arrays whose last axis is ggml's first."""

    query: Floats
    key: npt.NDArray[np.float16]
    value: npt.NDArray[np.float16]
    mask: npt.NDArray[np.float16]
    sinks: Floats


def inputs(case: Case) -> Inputs:
    random = np.random.default_rng(1)

    def normal(*shape: int) -> Floats:
        return random.standard_normal(shape).astype(np.float32)

    visible = case.cells - 100 + np.arange(case.tokens)[:, None]
    cell = np.arange(case.cells)
    distance = np.where(case.bias > 0, cell - visible, 0)
    mask = np.where((cell > visible) | (cell < 70), -np.inf, distance).astype(np.float16)
    return Inputs(
        query=3 * normal(case.streams, case.heads, case.tokens, case.key),
        key=normal(case.streams, case.kv_heads, case.cells, case.key).astype(np.float16),
        value=normal(case.streams, case.kv_heads, case.cells, case.value).astype(np.float16),
        mask=np.broadcast_to(mask, (case.streams, 1, case.tokens, case.cells)).copy(),
        sinks=normal(case.heads),
    )


def slopes(heads: int, bias: float) -> Floats:
    """What the mask is multiplied by in each head (ALiBi, arXiv:2108.12409)."""
    if not bias:
        return np.ones(heads, np.float32)
    half = 2 ** int(math.log2(heads))
    first = [2 ** (-bias / half * (h + 1)) for h in range(half)]
    return np.array(first + [2 ** (-bias / half / 2 * (2 * h + 1)) for h in range(heads - half)], np.float32)


def expected(case: Case, given: Inputs) -> Floats:
    sharing = case.heads // case.kv_heads
    key, value = (np.repeat(a.astype(np.float32), sharing, axis=1) for a in (given.key, given.value))
    scores = given.query @ key.swapaxes(2, 3) / math.sqrt(case.key)
    if case.cap:
        scores = case.cap * np.tanh(scores / case.cap)
    if case.masked:
        scores = scores + slopes(case.heads, case.bias)[:, None, None] * given.mask.astype(np.float32)
    sinks = np.broadcast_to(given.sinks[:, None, None], (*scores.shape[:3], 1))
    if case.sinks:
        scores = np.concatenate([scores, sinks], axis=3)
    weights = np.exp(scores - scores.max(axis=3, keepdims=True))
    weights /= weights.sum(axis=3, keepdims=True)
    result: Floats = (weights[..., : case.cells] @ value).swapaxes(1, 2)
    return result


class Graphs:
    """Computes single operations with ggml."""

    def __init__(self) -> None:
        # Own objects for the libraries: what is declared below concerns no other test.
        self._base, self._cpu = ctypes.CDLL(ggml()._name), ctypes.CDLL(str(cpu_library()))
        pointer, number = ctypes.c_void_p, ctypes.c_int64
        self._declare(self._base.ggml_init, pointer, InitParams)
        self._declare(self._base.ggml_free, None, pointer)
        self._declare(self._base.ggml_new_tensor_4d, pointer, pointer, ctypes.c_int, *4 * [number])
        self._declare(self._base.ggml_get_data, pointer, pointer)
        self._declare(self._base.ggml_flash_attn_ext, pointer, *5 * [pointer], *3 * [ctypes.c_float])
        self._declare(self._base.ggml_flash_attn_ext_add_sinks, None, pointer, pointer)
        self._declare(self._base.ggml_new_graph, pointer, pointer)
        self._declare(self._base.ggml_build_forward_expand, None, pointer, pointer)
        self._declare(self._cpu.ggml_graph_compute_with_ctx, ctypes.c_int, pointer, pointer, ctypes.c_int)
        self._declare(self._cpu.edgeinfer_attends, ctypes.c_bool, pointer)
        self._context = self._base.ggml_init(InitParams(MEMORY, None, False))

    @staticmethod
    def _declare(function: Any, result: Any, *arguments: Any) -> None:
        function.restype, function.argtypes = result, arguments

    def close(self) -> None:
        self._base.ggml_free(self._context)

    def attention(self, case: Case, given: Inputs) -> Floats:
        """-> array of (streams, tokens, heads, value); computed by our kernel, or there is an error."""
        query, key, value = (self._tensor(a) for a in (given.query, given.key, given.value))
        mask = self._tensor(given.mask) if case.masked else None
        scale = 1 / math.sqrt(case.key)
        result = self._base.ggml_flash_attn_ext(
            self._context, query, key, value, mask, scale, case.bias, case.cap
        )
        if case.sinks:
            self._base.ggml_flash_attn_ext_add_sinks(result, self._tensor(given.sinks[None, None, None]))
        assert self._cpu.edgeinfer_attends(result)
        graph = self._base.ggml_new_graph(self._context)
        self._base.ggml_build_forward_expand(graph, result)
        assert 0 == self._cpu.ggml_graph_compute_with_ctx(self._context, graph, THREADS)
        shape = case.streams, given.query.shape[2], case.heads, case.value
        data = ctypes.cast(self._base.ggml_get_data(result), ctypes.POINTER(ctypes.c_float))
        return np.ctypeslib.as_array(data, shape).copy()

    def _tensor(self, array: npt.NDArray[Any]) -> int:
        kind = F16 if array.dtype == np.float16 else F32
        tensor: int = self._base.ggml_new_tensor_4d(self._context, kind, *reversed(array.shape))
        array = np.ascontiguousarray(array)
        ctypes.memmove(self._base.ggml_get_data(tensor), array.ctypes.data, array.nbytes)
        return tensor


@pytest.fixture
def graphs() -> Iterator[Graphs]:
    graphs = Graphs()
    yield graphs
    graphs.close()


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]


def test_attention_is_as_the_formula_says(case: Case, graphs: Graphs) -> None:
    given = inputs(case)
    np.testing.assert_allclose(graphs.attention(case, given), expected(case, given), rtol=0, atol=2e-5)


def test_a_token_is_computed_beside_others_as_alone(case: Case, graphs: Graphs) -> None:
    given = inputs(case)
    together = graphs.attention(case, given)
    for token in range(min(case.tokens, 9)):
        here = slice(token, token + 1)
        alone = given._replace(query=given.query[:, :, here], mask=given.mask[:, :, here])
        np.testing.assert_array_equal(graphs.attention(case, alone), together[:, here])


def test_cells_that_are_hidden_change_nothing(graphs: Graphs) -> None:
    """A cache is read up to where its longest sequence ends."""
    case = Case()
    given = inputs(case)
    more = np.full((1, 1, case.tokens, 192), -np.inf, np.float16)
    longer = given._replace(
        key=np.concatenate([given.key, given.key[:, :, :192]], axis=2),
        value=np.concatenate([given.value, given.value[:, :, :192]], axis=2),
        mask=np.concatenate([given.mask, more], axis=3),
    )
    np.testing.assert_array_equal(graphs.attention(case, given), graphs.attention(case, longer))


def test_token_that_sees_nothing_gets_zeros(graphs: Graphs) -> None:
    case = Case()
    given = inputs(case)
    given.mask[:, :, 2] = -np.inf
    result = graphs.attention(case, given)
    assert not result[:, 2].any()
    assert np.isfinite(result).all()
    assert result[:, 1].any()
