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
    if not starts:
        return (await attempt(messages))[0]
    best: P | None = None
    fitting, failing, count = 0, len(starts) + 1, 1  # numbers of user messages
    # Twice as many each time, so that no attempt is much longer than the context: the conversation may be.
    while failing - fitting > 1:
        prompt = await _try(_end(messages, starts[-count]), attempt)
        if prompt is None:
            failing = count
        else:
            best, fitting = prompt, count
        count = min(2 * count, failing - 1) if failing > len(starts) else (fitting + failing) // 2
    if best is not None:
        return best
    return (await attempt(_end(messages, starts[-1])))[0]


async def _try(messages: Sequence[Message], attempt: Attempt[P]) -> P | None:
    try:
        prompt, fits = await attempt(messages)
    except ContextLengthExceeded:  # so long that nobody counts
        return None
    return prompt if fits else None


def _end(messages: Sequence[Message], start: int) -> list[Message]:
    return [message for n, message in enumerate(messages) if n >= start or message.role == "system"]
