"""llama.cpp as a `Backend`: a context, its KV cache and its logits."""

from __future__ import annotations

import ctypes
import functools
import logging
from typing import Any

import llama_cpp.llama_cpp as lib
import numpy as np
import numpy.typing as npt

from edgeinfer.backends.llama_cpp.binding.batch import BatchView
from edgeinfer.backends.llama_cpp.binding.compute_threads import ComputeThreads
from edgeinfer.backends.llama_cpp.binding.model import LlamaModel
from edgeinfer.backends.llama_cpp.config import LlamaConfig
from edgeinfer.engine.backend import Batch, DecodeStatus, Row, SavedState
from edgeinfer.errors import ModelLoadFailed

log = logging.getLogger("edgeinfer.backends.llama_cpp.binding")

GGML_TYPES = {"f32": 0, "f16": 1, "q4_0": 2, "q8_0": 8, "bf16": 30}
STATUS = {0: DecodeStatus.OK, 1: DecodeStatus.NO_SPACE, 2: DecodeStatus.ABORTED}
FLASH_OFF, FLASH_ON = 0, 1

SHORT_SHARE = 0.125
"""Share of a stream's cells up to which a sequence is copied token by token.

llama.cpp copies a stream with all its cells, which then take memory, also those that hold nothing. Where they do already,
that is as fast from this share on.
"""


class LlamaBackend:
    """Owns a llama_context. Used by one thread, except for `abort`; `close` frees it."""

    def __init__(self, model: LlamaModel, config: LlamaConfig) -> None:
        self.vocab = model.vocab
        self._vocab_size = model.vocab.size
        self._streams = config.layout == "streams"
        self._ctx = config.ctx
        self._abort_flag = ctypes.create_string_buffer(2)
        self._abort_callback = abort_callback()
        model.log.is_aborting = functools.partial(_is_set, self._abort_flag)
        params = self._params(config)
        self._context = lib.llama_init_from_model(model.pointer, params)
        if not self._context:
            raise ModelLoadFailed(
                f"cannot allocate a context of {params.n_ctx} tokens for {config.model}: {model.log.reason}",
                hint="lower --parallel or --ctx",
            )
        self._memory = lib.llama_get_memory(self._context)
        self.removes_tails = model.removes_tails
        self._views: dict[int, BatchView] = {}
        self._threads = ComputeThreads(config)

    def _params(self, config: LlamaConfig) -> Any:
        slots = config.slots
        params = lib.llama_context_default_params()
        params.n_ctx = slots * padded(config.ctx) if self._streams else padded(config.cells)
        params.n_batch = config.batch
        params.n_ubatch = min(config.ubatch, config.batch)
        params.n_seq_max = slots
        # By default the output buffer has room for the logits of every token: 600 KB each for a vocabulary of 152k.
        params.n_outputs_max = config.outputs
        params.n_threads = params.n_threads_batch = config.threads
        params.flash_attn_type = FLASH_ON if config.flash_attention else FLASH_OFF
        params.type_k = params.type_v = GGML_TYPES[config.kv_type]
        params.kv_unified = not self._streams
        params.no_perf = True
        params.abort_callback = self._abort_callback
        params.abort_callback_data = ctypes.cast(self._abort_flag, ctypes.c_void_p)
        return params

    def decode(self, batch: Batch) -> DecodeStatus:
        view = self._views.get(id(batch))
        if view is None:
            view = self._views[id(batch)] = BatchView(batch)
        threads = self._threads.look()
        lib.llama_set_n_threads(self._context, threads, threads)
        code = lib.llama_decode(self._context, view.fill(batch))
        if code < 0:
            log.error("llama_decode returned %d for a batch of %d tokens", code, batch.size)
        return STATUS.get(code, DecodeStatus.FAILED)

    @property
    def threads(self) -> int:
        return self._threads.count

    def logits(self, index: int) -> Row:
        pointer = lib.llama_get_logits_ith(self._context, index)
        if not pointer:
            raise IndexError(f"token {index} of the batch has no logits")
        return np.ctypeslib.as_array(pointer, (self._vocab_size,))

    def remove(self, sequence: int, start: int, end: int = -1) -> bool:
        return bool(lib.llama_memory_seq_rm(self._memory, sequence, start, end))

    def clear(self) -> None:
        lib.llama_memory_clear(self._memory, True)

    def copy(self, source: int, target: int, end: int = -1) -> None:
        if not self._streams:
            lib.llama_memory_seq_cp(self._memory, source, target, 0, end)
            return
        short = self.length(source) <= SHORT_SHARE * self._ctx
        if short and (saved := self.save(source)) and self.restore(target, saved):
            return
        # Between streams, llama.cpp aborts the process unless a whole sequence is copied.
        lib.llama_memory_seq_cp(self._memory, source, target, -1, -1)

    def length(self, sequence: int) -> int:
        return int(lib.llama_memory_seq_pos_max(self._memory, sequence)) + 1

    def state_size(self, sequence: int) -> int:
        return int(lib.llama_state_seq_get_size(self._context, sequence))

    def save(self, sequence: int, buffer: memoryview | None = None) -> SavedState:
        size = self.state_size(sequence)
        try:  # neither filled with zeros nor copied once more
            data = np.empty(size, np.uint8) if buffer is None else np.frombuffer(buffer, np.uint8)
        except MemoryError:
            log.warning("there is no memory to save %d bytes of the KV cache", size)
            return b""
        written = lib.llama_state_seq_get_data(self._context, _pointer(data), len(data), sequence)
        if not written:
            log.warning("%d bytes of the KV cache could not be saved", size)
        return data.data[:written]

    def restore(self, sequence: int, data: SavedState) -> bool:
        pointer = _pointer(np.frombuffer(data, np.uint8))
        read = lib.llama_state_seq_set_data(self._context, pointer, len(data), sequence)
        if read != len(data):
            log.warning("%d saved bytes could not be loaded into the KV cache", len(data))
            self.remove(sequence, 0)
        return bool(read == len(data))

    def abort(self) -> None:
        self._abort_flag[0] = b"\x01"

    def clear_abort(self) -> None:
        self._abort_flag[0] = b"\x00"

    def close(self) -> None:
        if self._context:
            lib.llama_free(self._context)
            self._context = None


def _pointer(data: npt.NDArray[np.uint8]) -> Any:
    return data.ctypes.data_as(ctypes.POINTER(ctypes.c_uint8))


def _is_set(flag: Any) -> bool:
    return bool(flag[0] != b"\x00")


def abort_callback() -> Any:
    """An abort callback that needs no GIL: libc's strlen over a one-character flag, polled for each graph node."""
    strlen = ctypes.cast(ctypes.CDLL(None).strlen, ctypes.c_void_p).value or 0
    return lib.ggml_abort_callback(strlen)


def padded(n: int) -> int:
    """`n` rounded up to a multiple of 256, as llama.cpp rounds a context."""
    return (n + 255) // 256 * 256
