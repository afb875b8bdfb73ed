"""The messages between the daemon and the template process, in the frames of `ipc`.

The template process answers each `RenderRequest` with one `RenderResponse`.
"""

from __future__ import annotations

from typing import Any

import msgspec

from edgeinfer.chat.template_guard import SourceFindings

MAX_OUTPUT = 8 << 20
"""Characters that one `RenderRequest` may produce, all contexts together."""

MAX_FRAME = 4 * MAX_OUTPUT + (1 << 20)
"""Bytes of the longest frame that the daemon reads: a character takes up to four."""

MEMORY = 512 << 20
"""Bytes of address space that the template process may have."""


class RenderRequest(msgspec.Struct, frozen=True, array_like=True):
    """Render `source` once for each context, all within `limit` seconds.

    Attributes:
        control_tokens: the model's, to inspect the source instead; None renders.
    """

    source: str
    contexts: list[dict[str, Any]]
    limit: float
    control_tokens: tuple[str, ...] | None = None


class RenderOutcome(msgspec.Struct, frozen=True, array_like=True):
    """The text of one context, or None and what went wrong."""

    text: str | None
    error: str = ""


class RenderResponse(msgspec.Struct, frozen=True, array_like=True):
    """The outcomes, one for each context; or what was found in the source, else one outcome with the error."""

    renderings: list[RenderOutcome]
    findings: SourceFindings | None = None
