"""What an answer has to keep to, beside its sampling. Plain data: the daemon imports this."""

from __future__ import annotations

import msgspec


class ThinkingBudget(msgspec.Struct, frozen=True, array_like=True):
    """How much an answer may think before it must speak.

    Attributes:
        tokens: at most; then `closing` is put in.
        opened: the prompt ends within the thinking; otherwise the answer thinks if it begins with `begin`.
        begin, end: the tags, as text.
        closing: what ends the thinking, with `end` in it.
    """

    tokens: int
    opened: bool
    begin: str
    end: str
    closing: str


class StructuredOutput(msgspec.Struct, frozen=True, array_like=True):
    """Of one request.

    Attributes:
        grammar: llguidance's grammar for the whole answer; None is any text.
        complete: rather than cut the answer at its token limit, lead it to an end within it.
        thinking: None is without bound.
    """

    grammar: str | None = None
    complete: bool = False
    thinking: ThinkingBudget | None = None


UNCONSTRAINED = StructuredOutput()
