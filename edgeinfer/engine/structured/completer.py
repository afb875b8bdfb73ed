"""Finds a short token sequence that completes a constrained answer."""

from __future__ import annotations

from copy import copy

import numpy as np

from edgeinfer.engine.backend import Vocab
from edgeinfer.engine.structured.constraint import Constraint
from edgeinfer.engine.structured.thinking import ThinkingTracker
from edgeinfer.errors import ConstraintFailed, InvalidRequest

CLOSING_TEXTS = ('"', "}", "]", '"}', '"]', "0", "null", "false", "a")
"""Texts to try first, in this order: they close something, or are the shortest value."""


class GrammarCompleter:
    """Finds short completions. The byte length of every token is computed once for a vocabulary."""

    MAX_TOKENS = 1024
    """Length of a completion after which the search gives up."""

    def __init__(self, vocab: Vocab) -> None:
        self._vocab = vocab
        self._closing_tokens = [
            token for text in CLOSING_TEXTS if (token := _only_token(vocab, text)) is not None
        ]
        lengths = (len(piece) or 1 << 10 for piece in vocab.pieces())
        self._lengths = np.fromiter(lengths, np.int16, vocab.size)

    def complete(self, constraint: Constraint, thinking: ThinkingTracker | None) -> list[int] | None:
        """Tokens that complete the answer; None if none are found.

        The search simulates on copies; `constraint` and `thinking` do not change. It takes what closes, not
        what is best, so a completion may exist where none is found.
        """
        constraint, thinking = constraint.copy(), copy(thinking)
        completion: list[int] = []
        try:
            while not constraint.accepting:
                if len(completion) > self.MAX_TOKENS:
                    return None
                tokens = constraint.forced_tokens() or self._next(constraint, thinking)
                for token in tokens:
                    constraint.accept(token)
                    if thinking:
                        thinking.push(self._vocab.piece(token))
                completion += tokens
        except ConstraintFailed:
            return None
        return completion

    def _next(self, constraint: Constraint, thinking: ThinkingTracker | None) -> list[int]:
        if thinking and thinking.active and constraint.allows_all(thinking.closing_tokens):
            return thinking.close()
        return [self._shortest(constraint)]

    def _shortest(self, constraint: Constraint) -> int:
        bits = constraint.mask_bits()
        for token in self._closing_tokens:
            if bits[token >> 3] >> (token & 7) & 1:
                return token
        allowed = np.flatnonzero(np.unpackbits(bits, bitorder="little", count=len(self._lengths)))
        return int(allowed[self._lengths[allowed].argmin()])


def _only_token(vocab: Vocab, text: str) -> int | None:
    """The token of a text that has only one; None if it has several, or cannot be written."""
    try:
        tokens = vocab.tokenize(text, special=False)
    except InvalidRequest:
        return None
    return tokens[0] if len(tokens) == 1 else None
