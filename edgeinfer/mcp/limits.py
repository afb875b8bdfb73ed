"""Limits on what a server may cost us; each may be hostile."""

from __future__ import annotations

START_TIMEOUT = 60.0
"""Seconds in which a server has to start and list its tools."""

CALL_TIMEOUT = 120.0
"""Seconds that a call may take."""

MAX_MESSAGE = 4 << 20
"""Bytes of one message."""

MAX_UNASKED = 16 << 20
"""Bytes that a server may write for one message of ours."""

MAX_TOOLS = 128
"""Tools of one server."""

MAX_PAGES = 20
"""Pages of its list."""

MAX_SCHEMA = 32 << 10
"""Bytes of one tool's schema."""

MAX_DESCRIPTION = 1000
"""Characters of a tool's description."""

MAX_RESULT = 50_000
"""Characters of a result."""

MAX_ARGUMENTS = 20_000
"""Characters of a call's arguments, all of which the user has to be able to read."""
