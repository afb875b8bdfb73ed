"""Shares the model's context out among question, files and answer; what does not fit is cut where all can see it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import msgspec

from edgeinfer.errors import EdgeinferError

TEMPLATE = 64
"""Tokens for what the chat template adds."""

MARGIN = 1.03
"""Texts have more tokens side by side than one by one."""


class Piece(msgspec.Struct, frozen=True):
    """A text for the model, whole or in part.

    Attributes:
        cut: the lines that are left, in words; empty if that is all of them.
    """

    name: str
    text: str
    tokens: int
    cut: str = ""


class ContextBudget:
    """Counts what has been put into a context of `size` tokens, of which `answer` are kept free."""

    def __init__(self, size: int, answer: int, count: Callable[[str], int]) -> None:
        self.size = size
        self.answer = answer
        self.pieces: list[Piece] = []
        self._count = count

    @property
    def left(self) -> int:
        """Tokens that can still be used."""
        return self.size - self.answer - TEMPLATE - sum(piece.tokens for piece in self.pieces)

    def count(self, text: str) -> int:
        return int(self._count(text) * MARGIN) + 1

    def add(self, name: str, text: str) -> None:
        """Put in a text that is needed whole. Raises EdgeinferError if there is no room for it."""
        piece = Piece(name, text, self.count(text))
        if piece.tokens > self.left:
            raise EdgeinferError(
                f"the {name} has {piece.tokens:,} tokens, and the context of {self.size:,} has room for "
                f"{max(self.left, 0):,}, with {self.answer:,} for the answer",
                hint="serve the model with a larger context: edgeinfer serve --ctx 8192",
            )
        self.pieces.append(piece)

    def add_fitting(self, texts: Sequence[tuple[str, str]], focus: Collection[int] = ()) -> list[Piece]:
        """Put in texts, in equal parts where not all of them fit; return what of each has gone in.

        Args:
            focus: the numbers of lines that matter most.
        """
        whole = [Piece(name, text, self.count(text)) for name, text in texts]
        waiting = sorted(range(len(whole)), key=lambda number: whole[number].tokens)
        left = max(self.left, 0)
        for place, number in enumerate(waiting):
            share = left // (len(waiting) - place)
            if whole[number].tokens > share:
                whole[number] = self._cut(whole[number], share, focus)
            left -= whole[number].tokens
        self.pieces += whole
        return whole

    def line(self) -> str:
        """Return the budget in a line: "context 8,192: question 120, a.py 2,300, answer 1,500"."""
        names: dict[str, int] = {}
        for piece in self.pieces:
            if piece.tokens:
                names[piece.name] = names.get(piece.name, 0) + piece.tokens
        parts = [f"{name} {tokens:,}" for name, tokens in names.items()]
        return f"context {self.size:,}: {', '.join([*parts, f'answer {self.answer + max(self.left, 0):,}'])}"

    def cuts(self) -> list[str]:
        """Return what is not whole, in words."""
        return [f"{piece.name}: {piece.cut}" for piece in self.pieces if piece.cut]

    def _cut(self, piece: Piece, room: int, focus: Collection[int]) -> Piece:
        lines = piece.text.split("\n")
        share = room / max(piece.tokens, 1)
        while True:
            first, last = _window(len(lines), int(len(lines) * share), focus)
            if first == last:
                return Piece(piece.name, "", 0, "left out, the context is full")
            text = "\n".join(lines[first:last])
            text = f"[lines {first + 1} to {last} of {len(lines)}]\n{text}"
            tokens = self.count(text)
            if tokens <= room:
                return Piece(
                    piece.name, text, tokens, f"only lines {first + 1} to {last} of {len(lines)} fit"
                )
            share *= 0.9 * room / tokens


def _window(total: int, size: int, focus: Collection[int]) -> tuple[int, int]:
    """Return a range of lines around the first of those that matter, else from the beginning."""
    middle = min((line for line in focus if line <= total), default=0)
    first = max(0, min(middle - size // 2, total - size))
    return first, first + size
