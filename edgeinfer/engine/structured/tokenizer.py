"""The vocabulary from an answer's point of view: how text goes on in the middle of another."""

from __future__ import annotations

import re
from functools import cached_property

from edgeinfer.engine.backend import Vocab


class TextTokenizer:
    """Tokens for text that is put into an answer, as the model would have written it there. Thread-safe."""

    def __init__(self, vocab: Vocab) -> None:
        self.vocab = vocab
        longest_first = sorted(vocab.markers, key=len, reverse=True)
        self._markers = re.compile("|".join(map(re.escape, longest_first)) or "(?!)")

    def encode(self, text: str) -> list[int]:
        """Markers among the text become their tokens; no other control token does."""
        tokens: list[int] = []
        at = 0
        for marker in self._markers.finditer(text):
            tokens += [*self._plain(text[at : marker.start()]), self.vocab.markers[marker[0]]]
            at = marker.end()
        return tokens + self._plain(text[at:])

    def _plain(self, text: str) -> list[int]:
        """Some vocabularies put a space before the first word of whatever they are given."""
        wanted = text.encode()
        tokens = self.vocab.tokenize(text, special=False)
        if self._bytes(tokens) == wanted:
            return tokens
        tokens = self.vocab.tokenize("\n" + text, special=False)
        for n in range(1, min(4, len(tokens))):
            if self._bytes(tokens[n:]) == wanted:
                return tokens[n:]
        return self._greedy(wanted)

    def _greedy(self, data: bytes) -> list[int]:
        """The longest token that fits, and again."""
        tokens = []
        while data:
            n = next((n for n in range(len(data), 1, -1) if data[:n] in self._known), 1)
            if data[:n] in self._known:
                tokens.append(self._known[data[:n]])
            data = data[n:]
        return tokens

    @cached_property
    def _known(self) -> dict[bytes, int]:
        return {self.vocab.piece(token): token for token in reversed(range(self.vocab.size))}

    def _bytes(self, tokens: list[int]) -> bytes:
        return b"".join(self.vocab.piece(t) for t in tokens)
