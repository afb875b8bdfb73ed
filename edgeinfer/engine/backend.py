"""The seam between the engine and whatever computes logits. `llama/` is one backend, `fake.py` another."""

from __future__ import annotations

import enum
from typing import Protocol

import numpy as np
import numpy.typing as npt

Row = npt.NDArray[np.float32]
"""One row of logits, shape (vocab_size,)."""


class DecodeStatus(enum.Enum):
    """What became of a batch. Unless OK, the caller must drop what the batch may have left in the cache."""

    OK = "ok"
    NO_SPACE = "no space"
    """No cells for it; nothing has changed."""
    ABORTED = "aborted"
    """Stopped by `abort`; a part of the batch may be in the cache."""
    FAILED = "failed"
    """The computation failed; a part of the batch may be in the cache."""


class Batch:
    """Tokens of several sequences for one decode call, at most `capacity` of them. Reused between steps."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.size = 0
        self.tokens = np.zeros(capacity, np.int32)
        self.positions = np.zeros(capacity, np.int32)
        self.sequences = np.zeros(capacity, np.int32)
        self.outputs = np.zeros(capacity, np.int8)

    def clear(self) -> None:
        self.size = 0

    def add(self, sequence: int, position: int, tokens: list[int], *, output: bool) -> int:
        """Append `tokens` of `sequence` from `position` on; -> batch index of the last of them.

        `output`: logits of the last token are wanted.
        """
        start, end = self.size, self.size + len(tokens)
        if end > self.capacity:
            raise ValueError(f"batch of {self.capacity} tokens is full")
        self.tokens[start:end] = tokens
        self.positions[start:end] = range(position, position + len(tokens))
        self.sequences[start:end] = sequence
        self.outputs[start:end] = 0
        self.outputs[end - 1] = output
        self.size = end
        return end - 1


class Vocab(Protocol):
    """The model's tokenizer. Thread-safe."""

    @property
    def size(self) -> int: ...

    @property
    def bos(self) -> int | None: ...

    @property
    def add_bos(self) -> bool:
        """Does the model want a BOS token before a text?"""
        ...

    @property
    def markers(self) -> dict[str, int]:
        """Control tokens that are text to us, as they mark tool calls or thinking: their text -> token."""
        ...

    def tokenize(self, text: str, *, special: bool) -> list[int]:
        """Tokens of `text`, without BOS or EOS. `special`: control tokens are recognised in it."""
        ...

    def detokenize(self, tokens: list[int]) -> bytes:
        """The text of a whole prompt, control tokens shown."""
        ...

    def piece(self, token: int, *, special: bool = False) -> bytes:
        """A token's bytes within a text: b"" for control tokens other than markers, unless `special`."""
        ...

    def is_end(self, token: int) -> bool:
        """Does this token end an answer?"""
        ...


class Backend(Protocol):
    """Computes logits, and keeps the cells of sequences 0..n-1. Used by one thread, `abort` excepted.

    Ranges are half-open; an `end` of -1 is the end of the sequence.
    """

    @property
    def vocab(self) -> Vocab: ...

    def decode(self, batch: Batch) -> DecodeStatus: ...

    def logits(self, index: int) -> Row:
        """Logits of the batch's `index`-th token: writable, valid until the next decode."""
        ...

    def remove(self, sequence: int, start: int, end: int = -1) -> bool:
        """Drop cells; False (and nothing dropped) where the model can't drop a part of a sequence."""
        ...

    def copy(self, source: int, target: int, end: int = -1) -> None:
        """Give `target`, which must be empty, the first `end` cells of `source`.

        With streams only whole sequences can be copied (`end` = -1).
        """
        ...

    def length(self, sequence: int) -> int:
        """Cells that `sequence` has."""
        ...

    def save(self, sequence: int) -> bytes:
        """The cells of `sequence`, for `restore`."""
        ...

    def restore(self, sequence: int, data: bytes) -> bool:
        """Give `sequence`, which must be empty, the cells that were saved; False if they do not fit.

        `data` is trusted: it was saved by a backend for the same model and configuration.
        """
        ...

    def abort(self) -> None:
        """Make the running decode return ABORTED soon. From any thread."""
        ...

    def clear_abort(self) -> None: ...
