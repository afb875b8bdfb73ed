"""The seam between the engine and what computes logits.

llama.cpp (`backends/llama_cpp/binding/context.py`) is one backend, `fake.py` another.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence as Seq
from typing import Protocol

import numpy as np
import numpy.typing as npt

Row = npt.NDArray[np.float32]
"""One row of logits, shape (vocab_size,)."""

SavedState = bytes | memoryview
"""The cells of a sequence outside the KV cache; its length is its size in bytes."""


class DecodeStatus(enum.Enum):
    """The outcome of a decode. Unless it is OK, the caller must drop what the batch may have left in the cache."""

    OK = "ok"
    NO_SPACE = "no space"
    """There are too few free cells; nothing has changed."""
    ABORTED = "aborted"
    """`abort` stopped it; a part of the batch may be in the cache."""
    FAILED = "failed"
    """The computation failed; a part of the batch may be in the cache."""


class Batch:
    """Holds up to `capacity` tokens of several sequences for one decode call. Reused between steps."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.size = 0
        self.tokens = np.zeros(capacity, np.int32)
        self.positions = np.zeros(capacity, np.int32)
        self.sequences = np.zeros(capacity, np.int32)
        self.outputs = np.zeros(capacity, np.int8)

    def clear(self) -> None:
        self.size = 0

    def add(
        self, sequence: int, position: int, tokens: list[int], *, output: bool, draft: Seq[int] = ()
    ) -> int:
        """Append `tokens` of `sequence`, starting at `position`, and its `draft`; -> index of the last of `tokens`.

        `output`: the logits of the last token are wanted. Those of a draft always are.
        """
        last = self.size + len(tokens) - 1
        tokens = [*tokens, *draft]
        start, end = self.size, self.size + len(tokens)
        if end > self.capacity:
            raise ValueError(f"batch of {self.capacity} tokens is full")
        self.tokens[start:end] = tokens
        self.positions[start:end] = range(position, position + len(tokens))
        self.sequences[start:end] = sequence
        self.outputs[start:last] = 0
        self.outputs[last] = output
        self.outputs[last + 1 : end] = 1
        self.size = end
        return last


class Vocab(Protocol):
    """The model's tokenizer. Thread-safe."""

    @property
    def size(self) -> int: ...

    @property
    def bos(self) -> int | None: ...

    @property
    def add_bos(self) -> bool:
        """The model wants a BOS token before a text."""
        ...

    @property
    def markers(self) -> dict[str, int]:
        """Control tokens shown as text because they mark tool calls or thinking: text -> token."""
        ...

    def tokenize(self, text: str, *, special: bool) -> list[int]:
        """Tokens of `text`, without BOS or EOS. `special`: recognise control tokens in it. Raises as `check` does."""
        ...

    def check(self, texts: Seq[str]) -> None:
        """Raises InvalidRequest for texts of one request that the tokenizer cannot take together."""
        ...

    def detokenize(self, tokens: list[int]) -> bytes:
        """The text of a whole prompt, including control tokens."""
        ...

    def piece(self, token: int, *, special: bool = False) -> bytes:
        """A token's bytes within a text; b"" for control tokens that are not markers, unless `special`."""
        ...

    def pieces(self) -> list[bytes]:
        """The `piece` of every token."""
        ...

    def is_end(self, token: int) -> bool:
        """This token ends an answer."""
        ...


class Backend(Protocol):
    """Computes logits and keeps the cells of sequences 0..n-1. Used by one thread, except for `abort`.

    Ranges are half-open; an `end` of -1 means the end of the sequence.
    """

    @property
    def vocab(self) -> Vocab: ...

    @property
    def removes_tails(self) -> bool:
        """The last cells of a sequence can be dropped. A recurrent model has one state for all of them."""
        ...

    @property
    def threads(self) -> int:
        """Number of threads of the last decode."""
        ...

    def decode(self, batch: Batch) -> DecodeStatus: ...

    def logits(self, index: int) -> Row:
        """Logits of token `index` of the batch: writable, and valid until the next decode."""
        ...

    def remove(self, sequence: int, start: int, end: int = -1) -> bool:
        """Drop cells; False, with nothing dropped, if the model cannot drop a part of a sequence."""
        ...

    def clear(self) -> None:
        """Drop all cells, and overwrite what is in them."""
        ...

    def copy(self, source: int, target: int, end: int = -1) -> None:
        """Copy the first `end` cells of `source` to `target`, which must be empty.

        With streams, only whole sequences can be copied (`end` = -1).
        """
        ...

    def length(self, sequence: int) -> int:
        """Number of cells that `sequence` has."""
        ...

    def state_size(self, sequence: int) -> int:
        """Bytes that `save` takes for `sequence`."""
        ...

    def save(self, sequence: int, buffer: memoryview | None = None) -> SavedState:
        """Serialize the cells of `sequence` for `restore`, to `buffer` if there is one; nothing if that fails."""
        ...

    def restore(self, sequence: int, data: SavedState) -> bool:
        """Load saved cells into `sequence`, which must be empty; False if they do not fit.

        `data` is trusted: a backend for the same model and configuration saved it.
        """
        ...

    def abort(self) -> None:
        """Make the running decode return ABORTED soon. Callable from any thread."""
        ...

    def clear_abort(self) -> None: ...
