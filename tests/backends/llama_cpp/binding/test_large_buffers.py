"""Large buffers of llama.cpp: huge pages, and zeros without being touched (`scripts/llama/large_buffers.c`)."""

from __future__ import annotations

import ctypes
import mmap
import sys
import time
from pathlib import Path

import llama_cpp
import numpy as np
import numpy.typing as npt
import psutil
import pytest

from edgeinfer.backends.llama_cpp.binding.context import LlamaBackend
from edgeinfer.backends.llama_cpp.binding.logs import LogCapture
from edgeinfer.backends.llama_cpp.binding.model import LlamaModel
from edgeinfer.backends.llama_cpp.config import LlamaConfig
from edgeinfer.engine.backend import Batch, DecodeStatus
from edgeinfer.gguf.header import read_header
from edgeinfer.plan.memory_estimate import estimate
from tests.support.server import eventually

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other systems fill it by hand")

MIB = 1 << 20
ODD = 12345
"""Bytes that are no whole page."""


def can_populate() -> bool:
    """Whether the kernel knows MADV_POPULATE_WRITE (madvise(2))."""
    with mmap.mmap(-1, mmap.PAGESIZE) as page:
        try:
            page.madvise(23)
        except OSError:
            return False
    return True


@pytest.fixture(scope="module")
def ggml() -> ctypes.CDLL:
    """llama.cpp's own functions over buffers."""
    folder = Path(llama_cpp.__file__).parent / "lib"
    cpu = "ggml_backend_cpu_buffer_type"
    found = ctypes.CDLL(str(min(folder.glob("libggml-base.so*"))))
    for name in (cpu, "ggml_backend_buft_alloc_buffer", "ggml_backend_buffer_get_base"):
        getattr(found, name).restype = ctypes.c_void_p
    found.ggml_backend_buft_alloc_buffer.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    found.ggml_backend_buffer_get_base.argtypes = [ctypes.c_void_p]
    found.ggml_backend_buffer_clear.argtypes = [ctypes.c_void_p, ctypes.c_uint8]
    found.ggml_backend_buffer_free.argtypes = [ctypes.c_void_p]
    return found


def view(ggml: ctypes.CDLL, buffer: int, size: int) -> npt.NDArray[np.uint8]:
    start = ggml.ggml_backend_buffer_get_base(buffer)
    return np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(start))


@pytest.mark.parametrize("size", [1000, 31 * MIB, 32 * MIB, 40 * MIB + ODD, 100 * MIB])
def test_a_cleared_buffer_has_the_value_everywhere(ggml: ctypes.CDLL, size: int) -> None:
    """Also one that has been written to, and again after that."""
    buffer = ggml.ggml_backend_buft_alloc_buffer(ggml.ggml_backend_cpu_buffer_type(), size)
    try:
        content = view(ggml, buffer, size)
        for value in (0, 7, 0):
            content[:] = 255
            ggml.ggml_backend_buffer_clear(buffer, value)
            assert (content == value).all()
    finally:
        ggml.ggml_backend_buffer_free(buffer)


def test_many_buffers_at_once_are_cleared_as_well(ggml: ctypes.CDLL) -> None:
    """More than the library takes note of."""
    cpu = ggml.ggml_backend_cpu_buffer_type()
    buffers = []
    try:
        for _ in range(260):
            buffers.append(ggml.ggml_backend_buft_alloc_buffer(cpu, 32 * MIB))
            ggml.ggml_backend_buffer_clear(buffers[-1], 0)  # or else all of its pages become real
        for buffer in (buffers[0], buffers[-1]):
            content = view(ggml, buffer, 32 * MIB)
            content[:] = 255
            ggml.ggml_backend_buffer_clear(buffer, 0)
            assert not content.any()
    finally:
        for buffer in buffers:
            ggml.ggml_backend_buffer_free(buffer)


@pytest.mark.skipif(
    not Path("/sys/kernel/mm/transparent_hugepage").exists(), reason="the kernel has no huge pages"
)
def test_large_buffers_may_have_huge_pages_until_they_are_cleared(ggml: ctypes.CDLL) -> None:
    """So weights have them, and a KV cache takes memory page by page."""
    buffer = ggml.ggml_backend_buft_alloc_buffer(ggml.ggml_backend_cpu_buffer_type(), 40 * MIB)
    try:
        place = ggml.ggml_backend_buffer_get_base(buffer) + 20 * MIB
        assert "hg" in advice_at(place)
        ggml.ggml_backend_buffer_clear(buffer, 0)
        assert "hg" not in advice_at(place)
        assert "nh" in advice_at(place)
    finally:
        ggml.ggml_backend_buffer_free(buffer)


@pytest.mark.skipif(not can_populate(), reason="the kernel cannot make pages real ahead (before Linux 5.14)")
def test_all_pages_of_a_large_buffer_become_real_before_they_are_touched(ggml: ctypes.CDLL) -> None:
    """So that weights are read into them sooner. What is written meanwhile stays."""
    size = 100 * MIB + ODD
    buffer = ggml.ggml_backend_buft_alloc_buffer(ggml.ggml_backend_cpu_buffer_type(), size)
    try:
        content = view(ggml, buffer, size)
        written = np.arange(size // MIB, dtype=np.uint8)
        content[: len(written) * MIB : MIB] = written
        place = ggml.ggml_backend_buffer_get_base(buffer) + size // 2
        assert eventually(lambda: resident_at(place) >= size - 2 * mmap.PAGESIZE, 20)
        assert (content[: len(written) * MIB : MIB] == written).all()
    finally:
        ggml.ggml_backend_buffer_free(buffer)


def test_a_buffer_that_is_cleared_at_once_stays_unreal(ggml: ctypes.CDLL) -> None:
    """As llama.cpp does with a KV cache: what has begun to make its pages real stops."""
    size = 400 * MIB
    buffer = ggml.ggml_backend_buft_alloc_buffer(ggml.ggml_backend_cpu_buffer_type(), size)
    try:
        ggml.ggml_backend_buffer_clear(buffer, 0)
        time.sleep(0.2)
        assert resident_at(ggml.ggml_backend_buffer_get_base(buffer) + size // 2) < size / 20
    finally:
        ggml.ggml_backend_buffer_free(buffer)


def advice_at(address: int) -> list[str]:
    """What the kernel has been told of the memory there: two letters each (proc(5), VmFlags)."""
    return mapping_at(address)["VmFlags"]


def resident_at(address: int) -> int:
    """The real bytes of the mapping there."""
    return 1024 * int(mapping_at(address)["Rss"][0])


def mapping_at(address: int) -> dict[str, list[str]]:
    """What the kernel says of the mapping that contains an address (proc(5), smaps)."""
    found: dict[str, list[str]] = {}
    inside = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        first, *rest = line.split()
        if not first.endswith(":"):
            start, end = (int(part, 16) for part in first.split("-"))
            inside = start <= address < end
        elif inside:
            found[first.removesuffix(":")] = rest
    assert found, "nothing is mapped there"
    return found


def test_a_new_cache_takes_memory_only_as_it_is_used(model_file: Path, llama_log: LogCapture) -> None:
    config = LlamaConfig(model=str(model_file), name="test", ctx=32768, parallel=8, batch=64, ubatch=16)
    header = read_header(model_file)
    size = estimate(header, config).kv
    assert size > 256 * MIB
    model = LlamaModel(config, llama_log)
    before = psutil.Process().memory_info().rss
    backend = LlamaBackend(model, config)
    try:
        assert psutil.Process().memory_info().rss < before + size / 4
    finally:
        backend.close()
        model.close()


def test_a_copy_of_a_few_tokens_takes_memory_for_these_alone(model_file: Path, llama_log: LogCapture) -> None:
    config = LlamaConfig(model=str(model_file), name="test", ctx=32768, parallel=8, batch=64, ubatch=16)
    stream = estimate(read_header(model_file), config).kv / config.slots
    assert stream > 16 * MIB
    model = LlamaModel(config, llama_log)
    backend = LlamaBackend(model, config)
    batch = Batch(config.batch)
    try:
        batch.add(0, 0, list(range(64)), output=True)
        assert backend.decode(batch) is DecodeStatus.OK
        before = psutil.Process().memory_info().rss
        backend.copy(0, 1)
        batch.clear()
        batch.add(1, 64, [7], output=True)
        assert backend.decode(batch) is DecodeStatus.OK
        assert psutil.Process().memory_info().rss < before + stream / 4
    finally:
        backend.close()
        model.close()
