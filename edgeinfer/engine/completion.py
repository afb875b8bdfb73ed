"""How a constrained answer can be brought to its end in few tokens."""

from __future__ import annotations

import numpy as np

from edgeinfer.engine.backend import Vocab
from edgeinfer.engine.constraint import Constraint
from edgeinfer.errors import ConstraintFailed

ENDINGS = ('"', "}", "]", '"}', '"]', "0", "null", "false", "a")
"""What to try first, in this order: it closes something, or is the shortest value."""


class Closer:
    """Finds short ends. `length` of every token is computed once for a vocabulary."""

    def __init__(self, vocab: Vocab) -> None:
        self._endings = [found[0] for e in ENDINGS if len(found := vocab.tokenize(e, special=False)) == 1]
        pieces = (len(vocab.piece(t)) or 1 << 10 for t in range(vocab.size))
        self._lengths = np.fromiter(pieces, np.int16, vocab.size)

    def close(self, constraint: Constraint, before: list[int], limit: int) -> list[int] | None:
        """At most `limit` tokens, `before` first, with which the answer is complete; None if none are found.

        A simulation on a copy: `constraint` stays where it is. It takes what closes, not what is best, so an
        end may exist where none is found.
        """
        place = constraint.copy()
        tokens: list[int] = []
        following = before
        try:
            while True:
                for token in following:
                    place.accept(token)
                tokens += following
                if len(tokens) > limit:
                    return None
                if place.accepting:
                    return tokens
                following = place.forced() or [self._shortest(place)]
        except ConstraintFailed:
            return None

    def _shortest(self, place: Constraint) -> int:
        bits = place.bits()
        for token in self._endings:
            if bits[token >> 3] >> (token & 7) & 1:
                return token
        allowed = np.flatnonzero(np.unpackbits(bits, bitorder="little", count=len(self._lengths)))
        return int(allowed[self._lengths[allowed].argmin()])
