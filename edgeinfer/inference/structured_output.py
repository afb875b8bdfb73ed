"""The constraints of an answer: its grammar and its thinking budget. Plain data: the daemon imports this."""

from __future__ import annotations

import msgspec


class ThinkingBudget(msgspec.Struct, frozen=True, array_like=True):
    """A limit on the thinking at the beginning of an answer.

    Attributes:
        tokens: number of tokens after which `closing` is inserted.
        opened: the prompt has opened the thinking; otherwise the answer thinks if it begins with `begin`.
        begin, end: the tags, as text.
        closing: the text that ends the thinking; it contains `end`.
    """

    tokens: int
    opened: bool
    begin: str
    end: str
    closing: str


class StructuredOutput(msgspec.Struct, frozen=True, array_like=True):
    """The constraints on the answers of one request.

    Attributes:
        grammar: a grammar in llguidance's format for the whole answer; None allows any text.
        complete: end the answer validly within its token limit rather than cut it there.
        thinking: None is unlimited.
    """

    grammar: str | None = None
    complete: bool = False
    thinking: ThinkingBudget | None = None


UNCONSTRAINED = StructuredOutput()
