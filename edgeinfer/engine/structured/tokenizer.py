"""Tokenizes text that is inserted in the middle of an answer."""

from __future__ import annotations

import contextlib
import re
from functools import cached_property

from edgeinfer.engine.backend import Vocab
from edgeinfer.errors import InvalidRequest


class TextTokenizer:
    """Tokenizes inserted text as the model would have written it there. Thread-safe."""

    def __init__(self, vocab: Vocab) -> None:
        self.vocab = vocab
        longest_first = sorted(vocab.markers, key=len, reverse=True)
        self._markers = re.compile("|".join(map(re.escape, longest_first)) or "(?!)")

    def encode(self, text: str) -> list[int]:
        """Tokens of `text`. Markers in it become their control tokens; no other control token appears."""
        tokens: list[int] = []
        at = 0
        for marker in self._markers.finditer(text):
            tokens += [*self._encode_plain(text[at : marker.start()]), self.vocab.markers[marker[0]]]
            at = marker.end()
        return tokens + self._encode_plain(text[at:])

    def _encode_plain(self, text: str) -> list[int]:
        """Tokens without the space that some vocabularies put before the first word of any text."""
        expected = text.encode()
        with contextlib.suppress(InvalidRequest):
            tokens = self.vocab.tokenize(text, special=False)
            if self._bytes(tokens) == expected:
                return tokens
            tokens = self.vocab.tokenize("\n" + text, special=False)
            for n in range(1, min(4, len(tokens))):
                if self._bytes(tokens[n:]) == expected:
                    return tokens[n:]
        return self._encode_greedily(expected)

    def _encode_greedily(self, data: bytes) -> list[int]:
        """The longest matching token at each position."""
        tokens, at = [], 0
        while at < len(data):
            longest = min(self._longest, len(data) - at)
            n = next((n for n in range(longest, 1, -1) if data[at : at + n] in self._token_of), 1)
            if data[at : at + n] in self._token_of:
                tokens.append(self._token_of[data[at : at + n]])
            at += n
        return tokens

    @cached_property
    def _longest(self) -> int:
        return max(map(len, self._token_of))

    @cached_property
    def _token_of(self) -> dict[bytes, int]:
        return {piece: token for token, piece in reversed([*enumerate(self.vocab.pieces())])}

    def _bytes(self, tokens: list[int]) -> bytes:
        return b"".join(self.vocab.piece(t) for t in tokens)
