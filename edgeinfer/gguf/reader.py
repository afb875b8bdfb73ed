"""Reads GGUF's values one after another from a file, or from a server that answers ranges."""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import cached_property
from operator import itemgetter

FetchRange = Callable[[int, int], bytes]
"""Returns the bytes for (offset, length); fewer only at the end of the file."""

Number = int | float
Value = Number | str | list[Number]

SCALARS = {
    kind: struct.Struct("<" + form)
    for kind, form in {
        0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d",
    }.items()
}  # fmt: skip
STRING, ARRAY, UINT64 = 8, 9, 10

MAX_HEADER_BYTES = 1 << 26
"""The largest vocabularies, of 262,144 tokens, take 16 MB."""

MAX_TEXT_BYTES = 1 << 20
"""Longer texts are skipped; only llama.cpp needs them."""

MAX_TOTAL_TEXT_BYTES = 1 << 23
"""Limit for all texts together."""

MAX_LIST_LENGTH = 512
"""Longer arrays are skipped. llama.cpp has at most this many layers."""

MAX_NUMBERS = 1 << 16
"""Limit for the elements of all arrays that are kept."""

MAX_ARRAY_TEXTS = 1 << 21
"""Limit for the texts in all arrays; the largest vocabularies have 262,144 tokens and 514,906 merges."""

MAX_DISTINCT_TEXTS = 1 << 19
"""Limit for an array whose texts must differ from each other."""

MAX_SHORT_TEXT = 6
"""Bytes; tokens of single bytes are no longer, however they are spelled."""

SHORT_LENGTH = b"\0" * 7
"""All bytes but the first of the length of a text of up to 255 bytes."""

LAST = itemgetter(-1)

SPLIT_BYTES = 1 << 16
"""Bytes in which such texts are sought at once."""

ENOUGH_TEXTS = 1 << 8
"""So many short texts must be found at once, or the search costs more than it spares."""

SINGLE_TEXTS = 1 << 12
"""Texts that are read one by one, where too few are short, before others are sought."""

MAX_CHARSMAP_BYTES = 1 << 23

MAX_CHUNK_BYTES = 1 << 23


class HeaderReader:
    """Reads a header; raises ValueError for impossible values, and EOFError if the file is cut off.

    Attributes:
        token_types: the different types of tokens.
        charsmap: the table by which a tokenizer normalises texts.
    """

    def __init__(self, fetch: FetchRange, size: int, chunk: int) -> None:
        """Fetch `chunk` bytes first, and twice as many with each further range."""
        self.size = size
        self._fetch, self._chunk = fetch, chunk
        self._window, self._base, self._at = b"", 0, 0
        self._text = 0
        self._numbers, self._array_texts = 0, 0
        self._distinct: set[bytes] = set()
        self.token_types: frozenset[Number] = frozenset()
        self.charsmap = b""

    @property
    def offset(self) -> int:
        return self._base + self._at

    def take(self, n: int) -> bytes:
        self._need(n)
        data = self._window[self._at : self._at + n]
        self._at += n
        return data

    def skip(self, n: int) -> None:
        self._check(n)
        self._at += n
        if self._at > len(self._window):
            self._window, self._base, self._at = b"", self.offset, 0

    def uint32(self) -> int:
        return int.from_bytes(self.take(4), "little")

    def uint64(self) -> int:
        return int.from_bytes(self.take(8), "little")

    def text(self) -> str | None:
        """Read a text; None if it was too long and has been skipped."""
        n = self.uint64()
        if n > MAX_TEXT_BYTES:
            self.skip(n)
            return None
        self._text += n
        if self._text > MAX_TOTAL_TEXT_BYTES:
            raise ValueError(f"its texts are longer than {MAX_TOTAL_TEXT_BYTES} bytes")
        return self.take(n).decode("utf-8", "replace")

    def value(self, kind: int) -> Value | None:
        """Read a scalar or a text; None if it was too long and has been skipped."""
        if kind == STRING:
            return self.text()
        form = _form(kind)
        number: Number = form.unpack(self.take(form.size))[0]
        return number

    def array(
        self, *, distinct: bool = False, types: bool = False, charsmap: bool = False
    ) -> tuple[int, list[Number] | None]:
        """Read an array: its length, and its elements if they are a few numbers.

        With `distinct`, its texts must differ up to their first zero byte, where llama.cpp ends them. With `types`, its
        numbers become `token_types`; with `charsmap`, its bytes become that.
        """
        kind, n = self.uint32(), self.uint64()
        if kind == STRING:
            self._array_texts += n
            if self._array_texts > MAX_ARRAY_TEXTS:
                raise ValueError(f"it has arrays of {self._array_texts} texts")
            if distinct:
                self._distinct_texts(n)
            else:
                self._skip_texts(n)
            return n, None
        form = _form(kind)
        if types and n <= MAX_DISTINCT_TEXTS:
            self.token_types = frozenset(struct.unpack(f"<{n}{form.format[1:]}", self.take(n * form.size)))
            return n, None
        if charsmap and form.size == 1 and n <= MAX_CHARSMAP_BYTES:
            self.charsmap = self.take(n)
            return n, None
        if n > MAX_LIST_LENGTH:
            self.skip(n * form.size)
            return n, None
        self._numbers += n
        if self._numbers > MAX_NUMBERS:
            raise ValueError(f"it has arrays of {self._numbers} numbers")
        return n, [v for (v,) in form.iter_unpack(self.take(n * form.size))]

    def _skip_texts(self, n: int) -> None:
        self._check(n * 8)
        length = SCALARS[UINT64].unpack_from
        while n:
            if short := len(self._short_texts(n)):
                n -= short
                continue
            stop = max(n - SINGLE_TEXTS, 0)
            while n > stop:
                self._need(8)
                window, at, last = self._window, self._at, len(self._window) - 8
                while n > stop and at <= last:
                    at += 8 + length(window, at)[0]
                    n -= 1
                self.skip(at - self._at)

    def _distinct_texts(self, n: int) -> None:
        if n > MAX_DISTINCT_TEXTS:
            raise ValueError(f"it has {n} tokens")
        self._check(n * 8)
        length = SCALARS[UINT64].unpack_from
        texts: list[bytes] = []
        while len(texts) < n:
            if short := self._short_texts(n - len(texts)):
                texts += [text[:-1] for text in short]
                continue
            wanted = min(n, len(texts) + SINGLE_TEXTS)
            while len(texts) < wanted:
                self._need(8)
                size = length(self._window, self._at)[0]
                self._need(8 + size)
                window, at, stop = self._window, self._at, len(self._window)
                for _ in range(wanted - len(texts)):
                    if at + 8 > stop or (end := at + 8 + length(window, at)[0]) > stop:
                        break
                    texts.append(window[at + 8 : end])
                    at = end
                self.skip(at - self._at)
        seen = set(texts)
        if len(seen) < n or b"" in seen or b"\0" in b"".join(texts):
            seen = _distinct_as_llama_cpp_reads(texts)
        # Freed along with this, in one piece: objects of the header in gaps between them would keep 6 MB.
        self._distinct = seen

    @cached_property
    def short_texts(self) -> frozenset[bytes]:
        """The distinct texts of up to MAX_SHORT_TEXT bytes."""
        return frozenset(text for text in self._distinct if len(text) <= MAX_SHORT_TEXT)

    @property
    def longest_text(self) -> int:
        """The size of the longest distinct text."""
        return max(map(len, self._distinct), default=0)

    def _short_texts(self, most: int) -> list[bytes]:
        """Read the next texts as long as they have 1 to 255 bytes and lie in the window: many of them, or none.

        To split at the zeros takes a fifth of the time of going from one length to the next. Each text is returned
        with the byte after it.
        """
        pieces = self._window[self._at : self._at + SPLIT_BYTES].split(SHORT_LENGTH, most)
        if b"" in pieces:  # there is a text that is empty or begins with zeros
            return []
        # Each piece ends with the first byte of a length, which follows the text before; the first has no such text.
        said, sizes = [1, *[length + 1 for length in map(LAST, pieces)]], [*map(len, pieces)]
        whole = len(sizes) - 1  # after the last piece no length has been found
        if said[:whole] != sizes[:whole]:
            whole = next(i for i, size in enumerate(sizes) if said[i] != size)
        if whole <= ENOUGH_TEXTS:
            return []
        self._at += sum(sizes[1:whole]) + len(SHORT_LENGTH) * (whole - 1)
        return pieces[1:whole]

    def _check(self, n: int) -> None:
        end = self.offset + n
        if end > self.size:
            raise EOFError("a length exceeds the rest of the file")
        if end > MAX_HEADER_BYTES:
            raise ValueError(f"its header is longer than {MAX_HEADER_BYTES} bytes")

    def _need(self, n: int) -> None:
        """Make sure that the next `n` bytes are in the window."""
        rest = len(self._window) - self._at
        if rest >= n:
            return
        self._check(n)
        at = self._base + len(self._window)
        wanted = min(max(n - rest, self._chunk), self.size - at)
        data = self._fetch(at, wanted)[:wanted]
        if len(data) < n - rest:
            raise EOFError(f"it ends after {at + len(data)} of {self.size} bytes")
        self._window, self._base, self._at = self._window[self._at :] + data, self.offset, 0
        self._chunk = min(2 * self._chunk, MAX_CHUNK_BYTES)


def _distinct_as_llama_cpp_reads(texts: list[bytes]) -> set[bytes]:
    """The texts as llama.cpp has them: it ends one at its first zero byte, and gives empty ones a name."""
    seen: set[bytes] = set()
    for number, whole in enumerate(texts):
        text = whole.partition(b"\0")[0] or b"[EMPTY_%d]" % number
        if text in seen:
            raise ValueError(f"token {text[:40].decode('utf-8', 'replace')!r} appears twice")
        seen.add(text)
    return seen


def _form(kind: int) -> struct.Struct:
    form = SCALARS.get(kind)
    if form is None:
        raise ValueError(
            "it has an array of arrays" if kind == ARRAY else f"it has a value of unknown type {kind}"
        )
    return form
