"""The tokenizer of a loaded model. llama.cpp's own is thread-safe, and so is this."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import llama_cpp.llama_cpp as lib

from edgeinfer.inference.types import FimTokens

CONTROL_ATTRIBUTES = 1 << 3 | 1 << 0
"""LLAMA_TOKEN_ATTR_CONTROL | _UNKNOWN: what llama_tokenize recognises only with parse_special."""


class LlamaVocab:
    """Tokens to bytes and back. Bytes of single tokens are cached: each is asked for again and again."""

    def __init__(self, pointer: Any) -> None:
        self._vocab = pointer
        self.size = int(lib.llama_vocab_n_tokens(pointer))
        self.bos = _token(lib.llama_vocab_bos(pointer))
        self.eos = _token(lib.llama_vocab_eos(pointer))
        self.add_bos = bool(lib.llama_vocab_get_add_bos(pointer)) and self.bos is not None
        self.fim = _fim(pointer)
        self._ends = {self.fim.prefix, self.fim.suffix, self.fim.middle} if self.fim else set()
        self.markers: dict[str, int] = {}
        self._pieces: dict[int, bytes] = {}

    def tokenize(self, text: str, *, special: bool, add_special: bool = False) -> list[int]:
        """Tokens of `text`. `add_special`: with BOS, EOS, CLS, SEP as the model wants them around a text."""
        data = text.encode("utf-8", "surrogatepass")
        room = len(data) + 8
        while True:
            buffer = (lib.llama_token * room)()
            n = lib.llama_tokenize(self._vocab, data, len(data), buffer, room, add_special, special)
            if n >= 0:
                return list(buffer[:n])
            room = -n

    def detokenize(self, tokens: list[int]) -> bytes:
        array = (lib.llama_token * len(tokens))(*tokens)
        room = 16 * len(tokens) + 16
        while True:
            buffer = ctypes.create_string_buffer(room)
            n = lib.llama_detokenize(self._vocab, array, len(tokens), buffer, room, False, True)
            if n >= 0:
                return buffer.raw[:n]
            room = -n

    def piece(self, token: int, *, special: bool = False) -> bytes:
        if special:
            return self._piece(token, special=True)
        piece = self._pieces.get(token)
        if piece is None:
            piece = self._pieces[token] = self._piece(token, special=False)
        return piece

    def show(self, markers: Sequence[str]) -> None:
        """From now on these are text in an answer, those of them that are control tokens."""
        for text in markers:
            tokens = self.tokenize(text, special=True)
            if len(tokens) == 1 and not self.piece(tokens[0]) and not self.is_end(tokens[0]):
                self.markers[text] = tokens[0]
                self._pieces[tokens[0]] = text.encode()

    def is_end(self, token: int) -> bool:
        """Also for a token that begins another hole, which llama.cpp lets pass: this one is filled."""
        return token in self._ends or bool(lib.llama_vocab_is_eog(self._vocab, token))

    def text(self, token: int | None) -> str:
        """A token as the vocabulary spells it; "" for None."""
        if token is None:
            return ""
        return (lib.llama_vocab_get_text(self._vocab, token) or b"").decode("utf-8", "replace")

    def control_tokens(self) -> tuple[str, ...]:
        """The texts that become control tokens where those are recognised."""
        attribute = lib.llama_vocab_get_attr
        found = (t for t in range(self.size) if attribute(self._vocab, t) & CONTROL_ATTRIBUTES)
        return tuple(text for t in found if (text := self.text(t)))

    def _piece(self, token: int, *, special: bool) -> bytes:
        room = 64
        while True:
            buffer = ctypes.create_string_buffer(room)
            n = lib.llama_token_to_piece(self._vocab, token, buffer, room, 0, special)
            if n >= 0:
                return buffer.raw[:n]
            room = -n


def _token(token: int) -> int | None:
    return None if token < 0 else int(token)


def _fim(pointer: Any) -> FimTokens | None:
    prefix, suffix, middle, repo, file = (
        _token(ask(pointer))
        for ask in (
            lib.llama_vocab_fim_pre,
            lib.llama_vocab_fim_suf,
            lib.llama_vocab_fim_mid,
            lib.llama_vocab_fim_rep,
            lib.llama_vocab_fim_sep,
        )
    )
    if prefix is None or suffix is None or middle is None:
        return None
    return FimTokens(prefix, suffix, middle, repo, file)
