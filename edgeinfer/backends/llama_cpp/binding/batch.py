"""Presents the engine's `Batch` as a llama_batch over the same memory."""

from __future__ import annotations

import ctypes

import llama_cpp.llama_cpp as lib
import numpy as np

from edgeinfer.engine.backend import Batch


class BatchView:
    """A llama_batch whose arrays are those of a `Batch`, so that no token is copied.

    Each token belongs to one sequence: its `seq_id` points into the batch's own array.
    """

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        self._ones = np.ones(batch.capacity, np.int32)
        first = batch.sequences.ctypes.data
        pointers = first + np.arange(batch.capacity, dtype=np.uintp) * batch.sequences.itemsize
        self._pointers = pointers.astype(np.uintp)
        self.struct = lib.llama_batch(
            n_tokens=0,
            token=batch.tokens.ctypes.data_as(ctypes.POINTER(lib.llama_token)),
            embd=None,
            pos=batch.positions.ctypes.data_as(ctypes.POINTER(lib.llama_pos)),
            n_seq_id=self._ones.ctypes.data_as(ctypes.POINTER(ctypes.c_int32)),
            seq_id=self._pointers.ctypes.data_as(ctypes.POINTER(ctypes.POINTER(lib.llama_seq_id))),
            logits=batch.outputs.ctypes.data_as(ctypes.POINTER(ctypes.c_int8)),
        )

    def fill(self, batch: Batch) -> lib.llama_batch:
        """The struct for a decode of `batch`, which must be the one this view was made for."""
        if batch is not self._batch:
            raise ValueError("the view was made for another batch")
        self.struct.n_tokens = batch.size
        return self.struct
