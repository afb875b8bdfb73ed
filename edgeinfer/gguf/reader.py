"""Reads GGUF's values one after the other from a file, or from what a server gives in ranges."""

from __future__ import annotations

import struct
from collections.abc import Callable

FetchRange = Callable[[int, int], bytes]
"""(offset, length) -> the bytes there; fewer only where the file ends."""

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
"""Bytes. The largest vocabularies, of 262,144 tokens, take 16 MB."""

MAX_TEXT_BYTES = 1 << 20
"""Bytes. Longer ones are passed over: what they say is llama.cpp's to read."""

MAX_TOTAL_TEXT_BYTES = 1 << 23
"""Bytes of all texts that are kept."""

MAX_LIST_LENGTH = 512
"""Numbers in an array that is kept: one for each layer that llama.cpp can hold."""

MAX_DISTINCT_TEXTS = 1 << 19
"""Texts that are compared with each other."""

MAX_CHUNK_BYTES = 1 << 23


class HeaderReader:
    """Raises ValueError where the file says what cannot be, EOFError where it breaks off."""

    def __init__(self, fetch: FetchRange, size: int, chunk: int) -> None:
        """The first range to fetch has `chunk` bytes, each further one twice as many as the last."""
        self.size = size
        self._fetch, self._chunk = fetch, chunk
        self._window, self._base, self._at = b"", 0, 0
        self._text = 0

    @property
    def offset(self) -> int:
        return self._base + self._at

    def take(self, n: int) -> bytes:
        self._need(n)
        found = self._window[self._at : self._at + n]
        self._at += n
        return found

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
        """None for one that is too long to keep."""
        n = self.uint64()
        if n > MAX_TEXT_BYTES:
            self.skip(n)
            return None
        self._text += n
        if self._text > MAX_TOTAL_TEXT_BYTES:
            raise ValueError(f"it has more than {MAX_TOTAL_TEXT_BYTES} bytes of text")
        return self.take(n).decode("utf-8", "replace")

    def value(self, kind: int) -> Value | None:
        """A scalar, or a text; None for one that is too long to keep."""
        if kind == STRING:
            return self.text()
        form = _form(kind)
        found: Number = form.unpack(self.take(form.size))[0]
        return found

    def array(self, *, distinct: bool = False) -> tuple[int, list[Number] | None]:
        """The number of its elements, and these if they are a few numbers.

        `distinct`: texts in it must differ; llama.cpp sees each up to its first zero.
        """
        kind, n = self.uint32(), self.uint64()
        if kind == STRING:
            if distinct:
                self._distinct_texts(n)
            else:
                self._skip_texts(n)
            return n, None
        form = _form(kind)
        if n > MAX_LIST_LENGTH:
            self.skip(n * form.size)
            return n, None
        return n, [v for (v,) in form.iter_unpack(self.take(n * form.size))]

    def _skip_texts(self, n: int) -> None:
        self._check(n * 8)
        length = SCALARS[UINT64].unpack_from
        while n:
            self._need(8)
            window, at, last = self._window, self._at, len(self._window) - 8
            while n and at <= last:
                at += 8 + length(window, at)[0]
                n -= 1
            self.skip(at - self._at)

    def _distinct_texts(self, n: int) -> None:
        if n > MAX_DISTINCT_TEXTS:
            raise ValueError(f"it has {n} tokens")
        self._check(n * 8)
        length = SCALARS[UINT64].unpack_from
        seen: set[bytes] = set()
        while len(seen) < n:
            self._need(8)
            size = length(self._window, self._at)[0]
            self._need(8 + size)
            window, at, last = self._window, self._at, len(self._window) - 8
            while len(seen) < n and at <= last and (end := at + 8 + length(window, at)[0]) <= last + 8:
                text = window[at + 8 : end]
                if b"\0" in text or not text:
                    # As llama.cpp reads it, and what it calls one that is empty.
                    text = text.partition(b"\0")[0] or b"[EMPTY_%d]" % len(seen)
                if text in seen:
                    raise ValueError(f"token {text[:40].decode('utf-8', 'replace')!r} stands there twice")
                seen.add(text)
                at = end
            self.skip(at - self._at)

    def _check(self, n: int) -> None:
        end = self.offset + n
        if end > self.size:
            raise EOFError("a length runs past the end of the file")
        if end > MAX_HEADER_BYTES:
            raise ValueError(f"its header has more than {MAX_HEADER_BYTES} bytes")

    def _need(self, n: int) -> None:
        """Have the next `n` bytes in the window."""
        rest = len(self._window) - self._at
        if rest >= n:
            return
        self._check(n)
        at = self._base + len(self._window)
        wanted = min(max(n - rest, self._chunk), self.size - at)
        found = self._fetch(at, wanted)[:wanted]
        if len(found) < n - rest:
            raise EOFError(f"it ends after {at + len(found)} bytes of {self.size}")
        self._window, self._base, self._at = self._window[self._at :] + found, self.offset, 0
        self._chunk = min(2 * self._chunk, MAX_CHUNK_BYTES)


def _form(kind: int) -> struct.Struct:
    form = SCALARS.get(kind)
    if form is None:
        raise ValueError("an array of arrays" if kind == ARRAY else f"a value of unknown type {kind}")
    return form
