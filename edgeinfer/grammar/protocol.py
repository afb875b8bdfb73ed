"""The messages between the daemon and the grammar process, sent in the frames of `ipc`.

The process answers each `GrammarRequest` with one `GrammarReply`.
A source's `content` travels as JSON text, because msgpack has no integers beyond 64 bits.
"""

from __future__ import annotations

import msgspec

from edgeinfer.errors import ErrorData
from edgeinfer.grammar.limits import MAX_COMPILED_BYTES
from edgeinfer.grammar.source import CompiledGrammar, Grammar, GrammarSource

MAX_FRAME = MAX_COMPILED_BYTES + (1 << 20)
"""Bytes of the longest frame that the daemon reads."""


class GrammarRequest(msgspec.Struct, frozen=True):
    """A grammar to compile, or else an answer (`text`) to check against the schema in `source`.

    Attributes:
        limit: seconds that the work may take.
    """

    limit: float
    grammar: Grammar | None = None
    source: GrammarSource | None = None
    text: str = ""


class GrammarReply(msgspec.Struct, frozen=True):
    """The result of a request, or an error."""

    compiled: CompiledGrammar | None = None
    violation: str | None = None
    error: ErrorData | None = None
