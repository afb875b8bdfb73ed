"""What the daemon and the grammar process say to each other, in the frames of `confined`.

The grammar process says `Outcome()` once it is ready, and from then on answers each `Job` with one `Outcome`.
A part's `source` travels as JSON text: msgpack has no integers beyond 64 bits.
"""

from __future__ import annotations

import msgspec

from edgeinfer.errors import ErrorData
from edgeinfer.grammar.limits import MAX_TEXT
from edgeinfer.grammar.source import Compiled, Grammar, Part

MAX_FRAME = MAX_TEXT + (1 << 20)
"""Bytes of the longest frame the daemon reads."""


class Job(msgspec.Struct, frozen=True):
    """Compile `grammar`, or else say what is wrong with `text` under `part`'s schema, within `limit` seconds."""

    limit: float
    grammar: Grammar | None = None
    part: Part | None = None
    text: str = ""


class Outcome(msgspec.Struct, frozen=True):
    """A job's: an error, or what was asked for."""

    compiled: Compiled | None = None
    violation: str | None = None
    error: ErrorData | None = None
