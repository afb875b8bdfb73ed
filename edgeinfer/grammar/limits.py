"""Limits on grammars, shared by the process that checks them and the worker that uses them."""

from __future__ import annotations

PARSER_LIMITS: dict[str, int] = {"max_lexer_states": 20_000}
"""Arguments of llguidance's LLParserLimits. A lexer state may take 2 kB."""

MAX_SOURCE_BYTES = 512 << 10
"""Size of a grammar's Lark and all its sources, as JSON."""

MAX_COMPILED_BYTES = 8 << 20
"""Size of a compiled grammar."""

MAX_MEMORY = 768 << 20
"""Bytes of address space for the grammar process."""

MAX_STACK = 4 << 20
"""Bytes of stack for the grammar process."""

SIMPLIFY_HINT = "use a smaller schema or grammar"
"""The hint of errors about exceeded limits."""
