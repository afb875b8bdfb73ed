"""A backend without a model, for tests and experiments: `edgeinfer serve --model fake`.

Its next token depends on every token before it, so an answer is right only if the right cells were resident at the
right positions: any mistake in batching, sharing or preempting changes the text. It raises for everything
that makes llama.cpp abort.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from edgeinfer.engine.backend import Batch, DecodeStatus, Row, SavedState
from edgeinfer.engine.config import EngineConfig

BOS, END = 256, 257
VOCAB_SIZE = 258
PIECE = 16
"""Tokens that a fake which takes its time computes before it looks whether it should abort."""

CONTROL = {BOS: "<|begin|>", END: "<|end|>"}


class FakeVocab:
    """Maps each byte to a token, and has two control tokens."""

    size = VOCAB_SIZE
    bos = BOS
    add_bos = True

    def __init__(self) -> None:
        self.markers: dict[str, int] = {}

    def tokenize(self, text: str, *, special: bool) -> list[int]:
        if not special:
            return list(text.encode())
        for token, name in CONTROL.items():
            head, separator, tail = text.partition(name)
            if separator:
                return [*self.tokenize(head, special=True), token, *self.tokenize(tail, special=True)]
        return list(text.encode())

    def check(self, texts: Sequence[str]) -> None:
        pass

    def detokenize(self, tokens: list[int]) -> bytes:
        return b"".join(self.piece(t, special=True) for t in tokens)

    def piece(self, token: int, *, special: bool = False) -> bytes:
        if token in CONTROL:
            return CONTROL[token].encode() if special else b""
        return bytes((token,))

    def pieces(self) -> list[bytes]:
        return [self.piece(token) for token in range(self.size)]

    def is_end(self, token: int) -> bool:
        return token == END


class FakeBackend:
    """Keeps the tokens of each sequence as a real cache would keep their cells.

    Answers are words of lower-case letters; about one token in `length` ends them. A decode takes
    `ms_per_token` for each token of its batch, unless `abort` cuts it short.
    """

    def __init__(self, config: EngineConfig, length: int = 60, ms_per_token: float = 0.0) -> None:
        self.vocab = FakeVocab()
        self.removes_tails = True
        self.threads = 1
        self._streams = config.layout == "streams"
        self._cells_each = config.ctx if self._streams else config.cells
        self._sequences: list[list[int]] = [[] for _ in range(config.slots)]
        self._shared: list[list[int]] = [[] for _ in self._sequences]
        self._next_cell = 0
        self._length = length
        self._delay = ms_per_token / 1e3
        self._abort = threading.Event()
        self._rows: dict[int, Row] = {}

    def decode(self, batch: Batch) -> DecodeStatus:
        self._check(batch)
        if not self._fits(batch):
            return DecodeStatus.NO_SPACE
        self._rows.clear()
        computed = self._compute(batch.size)
        for i in range(computed):
            sequence = int(batch.sequences[i])
            self._sequences[sequence].append(int(batch.tokens[i]))
            self._next_cell += 1
            self._shared[sequence].append(self._next_cell)
            if batch.outputs[i]:
                self._rows[i] = self._row(self._sequences[sequence])
        return DecodeStatus.OK if computed == batch.size else DecodeStatus.ABORTED

    def logits(self, index: int) -> Row:
        return self._rows[index]

    def remove(self, sequence: int, start: int, end: int = -1) -> bool:
        if end != -1:
            raise ValueError("only tails are removed")
        del self._sequences[sequence][start:]
        del self._shared[sequence][start:]
        return True

    def clear(self) -> None:
        for sequence in range(len(self._sequences)):
            self.remove(sequence, 0)

    def copy(self, source: int, target: int, end: int = -1) -> None:
        if self._sequences[target]:
            raise ValueError(f"sequence {target} is not empty")
        if self._streams and end != -1:
            raise ValueError("only whole streams can be copied")
        n = len(self._sequences[source]) if end == -1 else end
        self._sequences[target] = self._sequences[source][:n]
        self._shared[target] = self._shared[source][:n]

    def length(self, sequence: int) -> int:
        return len(self._sequences[sequence])

    def state_size(self, sequence: int) -> int:
        return 4 * len(self._sequences[sequence])

    def save(self, sequence: int, buffer: memoryview | None = None) -> SavedState:
        data = np.array(self._sequences[sequence], np.int32).tobytes()
        if buffer is None:
            return data
        buffer[: len(data)] = data
        return buffer[: len(data)]

    def restore(self, sequence: int, data: SavedState) -> bool:
        tokens: list[int] = np.frombuffer(data, np.int32).tolist()
        if self._sequences[sequence]:
            raise ValueError(f"sequence {sequence} is not empty")
        self._sequences[sequence] = tokens
        self._shared[sequence] = list(range(self._next_cell + 1, self._next_cell + 1 + len(tokens)))
        self._next_cell += len(tokens)
        return True

    def abort(self) -> None:
        self._abort.set()

    def clear_abort(self) -> None:
        self._abort.clear()

    def embed(self, inputs: list[list[int]]) -> list[Row]:
        """Normalised histograms of the inputs' tokens."""
        rows = [np.bincount(tokens, minlength=VOCAB_SIZE).astype(np.float32) for tokens in inputs]
        return [row / np.linalg.norm(row) for row in rows]

    def _check(self, batch: Batch) -> None:
        """Raise ValueError unless positions continue where each sequence ends, as llama_decode demands."""
        ends = {i: len(s) for i, s in enumerate(self._sequences)}
        for sequence, position in zip(
            batch.sequences[: batch.size], batch.positions[: batch.size], strict=True
        ):
            if ends[int(sequence)] != position:
                raise ValueError(
                    f"sequence {sequence} has {ends[int(sequence)]} cells; position {position} does not follow"
                )
            ends[int(sequence)] += 1
        changes = sum(a != b for a, b in pairwise(batch.sequences[: batch.size].tolist()))
        if changes + 1 > len(set(batch.sequences[: batch.size].tolist())):
            raise ValueError("a sequence's tokens are scattered over the batch")

    def _compute(self, size: int) -> int:
        """Take the time of `size` tokens; -> how many of them were computed before `abort`, or all.

        The time passes in pieces: many fakes on one machine would spend its cores on waking up for each token.
        """
        if not self._delay:
            return 0 if self._abort.is_set() else size
        for done in range(0, size, PIECE):
            if self._abort.wait(self._delay * min(PIECE, size - done)):
                return done
        return size

    def _fits(self, batch: Batch) -> bool:
        if self._streams:
            counts = np.bincount(batch.sequences[: batch.size], minlength=len(self._sequences))
            return all(len(s) + n <= self._cells_each for s, n in zip(self._sequences, counts, strict=True))
        used = len({cell for cells in self._shared for cell in cells})
        return used + batch.size <= self._cells_each

    def _row(self, tokens: list[int]) -> Row:
        """Logits from a hash (FNV-1a) of all tokens, so that any wrong cell changes them."""
        h = 0xCBF29CE484222325
        for token in tokens:
            h = (h ^ token) * 0x100000001B3 % (1 << 64)
        row = np.full(VOCAB_SIZE, -50.0, np.float32)
        letters = [97 + (h >> shift) % 26 for shift in range(0, 40, 8)]
        row[letters] = np.arange(5, 0, -1)
        row[32] = 4.5 if (h >> 41) % 6 == 0 else -10.0
        row[END] = 9.0 if (h >> 47) % self._length == 0 else -10.0
        return row
