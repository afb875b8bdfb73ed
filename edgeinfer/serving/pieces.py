"""The pieces in which the engine gets a request with many inputs, so that it serves others in between."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from edgeinfer.inference.types import Prompt, Span

MAX_PIECE = 65536
"""Characters that the engine has at once; it serves others between any two of its tokens."""

TOKEN_CHARS = 4
"""Characters that a token counts as."""

T = TypeVar("T")


def in_pieces(inputs: Iterable[T], size: Callable[[T], int]) -> Iterator[list[T]]:
    """`inputs` in order, each piece of about MAX_PIECE characters or less; a longer input goes alone."""
    piece, total = list[T](), 0
    for content in inputs:
        more = size(content)
        if piece and total + more > MAX_PIECE:
            yield piece
            piece, total = [], 0
        piece.append(content)
        total += more
    if piece:
        yield piece


def prompt_size(prompt: Prompt) -> int:
    """The characters of a prompt."""
    return sum(len(part.text) if isinstance(part, Span) else TOKEN_CHARS for part in prompt)
