"""Leaves out the beginning of a conversation that is longer than the context."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from edgeinfer.chat.message import Message
from edgeinfer.errors import ContextLengthExceeded

P = TypeVar("P")

Attempt = Callable[[Sequence[Message]], Awaitable[tuple[P, bool]]]
"""Makes the prompt of a conversation; -> it, and whether it fits."""


def prompt_room(ctx: int, max_tokens: int | None) -> int:
    """Tokens for the prompt: what the answer leaves of the context, which is at least three quarters."""
    quarter = ctx // 4
    return ctx - max(1, quarter if max_tokens is None else min(max_tokens, quarter))


async def longest_fitting(messages: Sequence[Message], attempt: Attempt[P]) -> P:
    """The prompt of the conversation, or else of its longest end that fits; system messages are always in it.

    An end begins with a user's message, so that no result of a tool is without its call. The shortest one, from the
    last user's message on, is the answer even if it does not fit: the engine then says so, with the numbers.
    """
    whole = await _try(messages, attempt)
    if whole is not None:
        return whole
    starts = [n for n, message in enumerate(messages) if n and message.role == "user"]
    best: P | None = None
    first, last = 0, len(starts) - 1  # an end that fits is looked for among these
    while first <= last:
        middle = (first + last) // 2
        prompt = await _try(_end(messages, starts[middle]), attempt)
        if prompt is None:
            first = middle + 1
        else:
            best, last = prompt, middle - 1
    if best is not None:
        return best
    prompt, _ = await attempt(_end(messages, starts[-1]) if starts else messages)
    return prompt


async def _try(messages: Sequence[Message], attempt: Attempt[P]) -> P | None:
    try:
        prompt, fits = await attempt(messages)
    except ContextLengthExceeded:  # so long that nobody counts
        return None
    return prompt if fits else None


def _end(messages: Sequence[Message], start: int) -> list[Message]:
    return [message for n, message in enumerate(messages) if n >= start or message.role == "system"]
