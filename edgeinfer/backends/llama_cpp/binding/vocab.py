"""The tokenizer of a loaded model. Thread-safe, because llama.cpp's is."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from ctypes import c_bool, c_int32, c_void_p
from functools import cached_property
from itertools import repeat
from typing import Any, NamedTuple

import llama_cpp.llama_cpp as lib
import numpy as np

from edgeinfer.backends.llama_cpp.binding.missing_bytes import check_lost, missing_bytes
from edgeinfer.backends.llama_cpp.binding.tokenizer_limits import (
    TokenizerLimits,
    check_byte_fallback,
    check_special_tokens,
)
from edgeinfer.errors import InvalidRequest, ModelLoadFailed
from edgeinfer.inference.types import FimTokens

CONTROL_ATTRIBUTES = 1 << 3 | 1 << 0
"""LLAMA_TOKEN_ATTR_CONTROL | _UNKNOWN: tokens that llama_tokenize recognises only with parse_special."""

BYTE_PAIRS, WORD_PIECE = 2, 3
"""LLAMA_VOCAB_TYPE_BPE, _WPM."""

PIECES_AT_ONCE, PIECE_ROOM = 4096, 64
"""Tokens whose bytes are read together, and bytes for each; the few longer ones are read alone."""

CACHED_PIECES = 8192
"""Tokens whose bytes are kept. All 152k of a large vocabulary would take 11 MB, to save a microsecond a token."""

USER_DEFINED_ATTRIBUTE = 1 << 4
"""LLAMA_TOKEN_ATTR_USER_DEFINED: tokens that llama_tokenize recognises in any text."""


class TextEnds(NamedTuple):
    """Tokens that belong between two texts, and after the second."""

    between: list[int]
    end: list[int]


class LlamaVocab:
    """Converts text to tokens and back. The bytes of some tokens are cached."""

    def __init__(self, pointer: Any, limits: TokenizerLimits) -> None:
        self._vocab = pointer
        self._limits = limits
        self.size = int(lib.llama_vocab_n_tokens(pointer))
        self.bos = _token(lib.llama_vocab_bos(pointer))
        self.eos = _token(lib.llama_vocab_eos(pointer))
        self.add_bos = bool(lib.llama_vocab_get_add_bos(pointer)) and self.bos is not None
        self._missing = _missing_tokens(pointer)
        self._may_lose_text = lib.llama_vocab_type(pointer) == BYTE_PAIRS
        self.fim = _fim_tokens(pointer)
        self._ends = {self.fim.prefix, self.fim.suffix, self.fim.middle} if self.fim else set()
        self.markers: dict[str, int] = {}
        self._pieces: dict[int, bytes] = {}
        self._control_pieces: dict[int, bytes] = {}

    def tokenize(self, text: str, *, special: bool, add_special: bool = False) -> list[int]:
        """Tokens of `text`. `add_special`: with BOS, EOS, CLS and SEP as the model wants them around a text.

        Raises:
            InvalidRequest: llama.cpp would take too much stack or time for it, or lose a part of it.
            ModelLoadFailed: there is no such token, and llama.cpp would end the process.
        """
        if add_special and self._missing:
            raise ModelLoadFailed(f"the tokenizer has no {self._missing} token, which belongs around a text")
        self.check([text], special=special)
        tokens = self._limits.run(text, lambda: self._tokenize(text, special, add_special))
        if self._may_lose_text:
            self._check_lost(text, self._without_ends(tokens) if add_special else tokens)
        return tokens

    def check(self, texts: Sequence[str], *, special: bool = False) -> None:
        """Raises InvalidRequest for texts of one request that would take too much stack or time together."""
        self._limits.check(texts)
        check_special_tokens(texts, self._user_defined)
        if self._limits.spells_in_bytes:
            check_byte_fallback(texts, self._characters)
        if special:
            check_special_tokens(texts, self._controls)

    def _tokenize(self, text: str, special: bool, add_special: bool) -> list[int]:
        data = text.encode("utf-8", "surrogatepass")
        size = len(data) + 8
        while True:
            buffer = (lib.llama_token * size)()
            n = lib.llama_tokenize(self._vocab, data, len(data), buffer, size, add_special, special)
            if n >= 0:
                break
            size = -n
        if -1 in (tokens := list(buffer[:n])):  # what comes of it ends llama.cpp
            raise InvalidRequest("this model has no token for a part of the text")
        return tokens

    def _check_lost(self, text: str, tokens: list[int]) -> None:
        """Raises InvalidRequest if the vocabulary lacks a byte of the text."""
        written = b"".join([self.piece(token) or self._control_piece(token) for token in tokens])
        if len(written) < len(text.encode("utf-8", "surrogatepass")) and self._missing_bytes:
            check_lost(text, written, self._missing_bytes)

    def _without_ends(self, tokens: list[int]) -> list[int]:
        """Without the control tokens around a text."""
        start, end = 0, len(tokens)
        while start < end and not self.piece(tokens[start]):
            start += 1
        while start < end and not self.piece(tokens[end - 1]):
            end -= 1
        return tokens[start:end]

    @cached_property
    def _missing_bytes(self) -> frozenset[int]:
        return missing_bytes(self.text(token) for token in range(self.size))

    def detokenize(self, tokens: list[int]) -> bytes:
        array = (lib.llama_token * len(tokens))(*tokens)
        size = 16 * len(tokens) + 16
        while True:
            buffer = ctypes.create_string_buffer(size)
            n = lib.llama_detokenize(self._vocab, array, len(tokens), buffer, size, False, True)
            if n >= 0:
                return buffer.raw[:n]
            size = -n

    def piece(self, token: int, *, special: bool = False) -> bytes:
        if special:
            return self._piece(token, special=True)
        piece = self._pieces.get(token)
        if piece is None:
            piece = self._piece(token, special=False)
            if len(self._pieces) < CACHED_PIECES:
                self._pieces[token] = piece
        return piece

    def pieces(self) -> list[bytes]:
        # The first schema waits for this, and a vocabulary may have 152k tokens: half as long as one after another.
        write = lib._lib["llama_token_to_piece"]
        write.argtypes = (c_void_p, c_int32, c_void_p, c_int32, c_int32, c_bool)
        room = ctypes.create_string_buffer(PIECES_AT_ONCE * PIECE_ROOM)
        places = range(ctypes.addressof(room), ctypes.addressof(room) + len(room), PIECE_ROOM)
        pieces: list[bytes] = []
        while len(pieces) < self.size:
            tokens = range(len(pieces), min(len(pieces) + PIECES_AT_ONCE, self.size))
            same = map(repeat, (PIECE_ROOM, 0, False))
            lengths = [*map(write, repeat(self._vocab), tokens, places, *same)]
            written = room.raw
            pieces += [
                written[at : at + length] if length >= 0 else self._piece(token, special=False)
                for token, at, length in zip(tokens, range(0, len(room), PIECE_ROOM), lengths, strict=False)
            ]
        for token in self.markers.values():
            pieces[token] = self.piece(token)
        return pieces

    def _control_piece(self, token: int) -> bytes:
        piece = self._control_pieces.get(token)
        if piece is None:
            piece = self._control_pieces[token] = self._piece(token, special=True)
        return piece

    def show(self, markers: Sequence[str]) -> None:
        """Show these control tokens as text in answers from now on; markers that are none are ignored."""
        for text in markers:
            tokens = self._tokenize(text, special=True, add_special=False)
            if len(tokens) == 1 and not self.piece(tokens[0]) and not self.is_end(tokens[0]):
                self.markers[text] = tokens[0]
                self._pieces[tokens[0]] = text.encode()

    def is_end(self, token: int) -> bool:
        """This token ends an answer; so does one that begins another fill-in-the-middle part, unlike in llama.cpp."""
        return token in self._ends or bool(lib.llama_vocab_is_eog(self._vocab, token))

    def text(self, token: int | None) -> str:
        """A token as the vocabulary spells it; "" for None."""
        if token is None:
            return ""
        return (lib.llama_vocab_get_text(self._vocab, token) or b"").decode("utf-8", "replace")

    def ends(self) -> TextEnds:
        """What the model wants between a query and a document, and after them.

        Raises:
            ModelLoadFailed: it wants a token that the vocabulary lacks.
        """
        sep = _token(lib.llama_vocab_sep(self._vocab))
        eos = sep if self.eos is None else self.eos
        end = [eos] if lib.llama_vocab_get_add_eos(self._vocab) else []
        between = [*end, sep] if lib.llama_vocab_get_add_sep(self._vocab) else end
        if None in between:
            raise ModelLoadFailed("the tokenizer has no EOS or SEP token, which belongs between two texts")
        return TextEnds([t for t in between if t is not None], [t for t in end if t is not None])

    def control_tokens(self) -> tuple[str, ...]:
        """The texts that become control tokens where these are recognised."""
        return self._controls

    @cached_property
    def _controls(self) -> tuple[str, ...]:
        return self._texts(CONTROL_ATTRIBUTES)

    @cached_property
    def _user_defined(self) -> tuple[str, ...]:
        return self._texts(USER_DEFINED_ATTRIBUTE)

    @cached_property
    def _special(self) -> list[tuple[int, int]]:
        """The control tokens and the user-defined ones, with their attributes."""
        # A model must wait for this, and may have 152k tokens. The same function without declared types is twice as fast.
        get_attribute = lib._lib["llama_vocab_get_attr"]
        all_attributes = map(get_attribute, repeat(ctypes.c_void_p(self._vocab)), range(self.size))
        attributes = np.fromiter(all_attributes, np.int32, self.size)
        special = np.flatnonzero(attributes & (CONTROL_ATTRIBUTES | USER_DEFINED_ATTRIBUTE))
        return [(int(token), int(attributes[token])) for token in special]

    @cached_property
    def _characters(self) -> frozenset[str]:
        """Characters that are tokens; a space is one under another name."""
        texts = (self.text(token) for token in range(self.size))
        return frozenset(text for text in texts if len(text) == 1) | {" "}

    def _texts(self, attributes: int) -> tuple[str, ...]:
        tokens = (token for token, has in self._special if has & attributes)
        return tuple(text for token in tokens if (text := self.text(token)))

    def _piece(self, token: int, *, special: bool) -> bytes:
        size = 64
        while True:
            buffer = ctypes.create_string_buffer(size)
            n = lib.llama_token_to_piece(self._vocab, token, buffer, size, 0, special)
            if n >= 0:
                return buffer.raw[:n]
            size = -n


def _token(token: int) -> int | None:
    return None if token < 0 else int(token)


def _missing_tokens(pointer: Any) -> str:
    """Names of the tokens that the model wants around a text but does not have."""
    kind, bos, eos = lib.llama_vocab_type(pointer), lib.llama_vocab_bos(pointer), lib.llama_vocab_eos(pointer)
    if kind == WORD_PIECE:
        wanted = {"CLS": bos, "SEP": lib.llama_vocab_sep(pointer)}
    else:
        wanted = {"BOS": bos} if lib.llama_vocab_get_add_bos(pointer) else {}
        wanted |= {"EOS": eos} if lib.llama_vocab_get_add_eos(pointer) else {}
    return " or ".join(name for name, token in wanted.items() if token < 0)


def _fim_tokens(pointer: Any) -> FimTokens | None:
    prefix, suffix, middle, repo, file = (
        _token(getter(pointer))
        for getter in (
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
