"""How a constrained answer can be brought to its end in few tokens."""

from __future__ import annotations

from copy import copy

import numpy as np

from edgeinfer.engine.backend import Vocab
from edgeinfer.engine.structured.constraint import Constraint
from edgeinfer.engine.structured.thinking import ThinkingTracker
from edgeinfer.errors import ConstraintFailed

ENDINGS = ('"', "}", "]", '"}', '"]', "0", "null", "false", "a")
"""What to try first, in this order: it closes something, or is the shortest value."""


class GrammarCompleter:
    """Finds short ends. `length` of every token is computed once for a vocabulary."""

    LONGEST = 1024
    """Tokens that are tried."""

    def __init__(self, vocab: Vocab) -> None:
        self._vocab = vocab
        self._endings = [found[0] for e in ENDINGS if len(found := vocab.tokenize(e, special=False)) == 1]
        pieces = (len(vocab.piece(t)) or 1 << 10 for t in range(vocab.size))
        self._lengths = np.fromiter(pieces, np.int16, vocab.size)

    def close(self, constraint: Constraint, thinking: ThinkingTracker | None) -> list[int] | None:
        """Tokens with which the answer is complete; None if none are found.

        A simulation on copies: `constraint` and `thinking` stay where they are. It takes what closes, not what
        is best, so an end may exist where none is found.
        """
        place, thinking = constraint.copy(), copy(thinking)
        tokens: list[int] = []
        try:
            while not place.accepting:
                if len(tokens) > self.LONGEST:
                    return None
                following = place.forced() or self._next(place, thinking)
                for token in following:
                    place.accept(token)
                    if thinking:
                        thinking.push(self._vocab.piece(token))
                tokens += following
        except ConstraintFailed:
            return None
        return tokens

    def _next(self, place: Constraint, thinking: ThinkingTracker | None) -> list[int]:
        if thinking and thinking.active and place.takes(thinking.closing):
            return thinking.close()
        return [self._shortest(place)]

    def _shortest(self, place: Constraint) -> int:
        bits = place.bits()
        for token in self._endings:
            if bits[token >> 3] >> (token & 7) & 1:
                return token
        allowed = np.flatnonzero(np.unpackbits(bits, bitorder="little", count=len(self._lengths)))
        return int(allowed[self._lengths[allowed].argmin()])
