"""Bounds on grammars: the same where they are checked and where they are used."""

from __future__ import annotations

LIMITS: dict[str, int] = {"max_lexer_states": 20_000}
"""llguidance's LLParserLimits, by name. A lexer state may take 2 kB."""

MAX_SOURCE = 512 << 10
"""Bytes that the Lark and the sources of all parts of a grammar may come to, as JSON."""

MAX_TEXT = 8 << 20
"""Bytes that a grammar may come to once compiled."""

MEMORY = 768 << 20
"""Bytes of address space that the grammar process may have."""

STACK = 4 << 20
"""Bytes of stack that the grammar process may have."""
