"""What a call has brought, as text for the model and for the user."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from edgeinfer.code.visible import visible
from edgeinfer.mcp.limits import MAX_RESULT

if TYPE_CHECKING:
    from mcp_types import CallToolResult


class McpResult(msgspec.Struct, frozen=True):
    """The result of a call. Characters that act on a terminal, or hide, are spelt out in it."""

    text: str
    is_error: bool = False

    def shortened(self, limit: int) -> str:
        """Return the text, without its middle if it is longer than `limit` characters."""
        left_out = len(self.text) - limit
        if left_out <= 0:
            return self.text
        head = limit // 3
        return f"{self.text[:head]}\n[{left_out} characters left out]\n{self.text[head + left_out :]}"


def result_of(result: CallToolResult) -> McpResult:
    """Return a server's result in our form."""
    texts = [_text(block) for block in result.content]
    if not texts and result.structured_content is not None:
        texts = [msgspec.json.encode(result.structured_content).decode()]
    text = "\n".join(texts)[: 4 * MAX_RESULT]
    whole = McpResult(visible(text) or "(no output)", bool(result.is_error))
    return msgspec.structs.replace(whole, text=whole.shortened(MAX_RESULT))


def _text(block: Any) -> str:
    """Return a piece of content as text; what is none is named."""
    match block.type:
        case "text":
            return str(block.text)
        case "image" | "audio":
            return f"[{block.type} of type {block.mime_type}, which is not shown]"
        case "resource_link":
            return f"[resource {block.uri}]"
        case "resource":
            content = block.resource
            return str(getattr(content, "text", f"[resource {content.uri}, which is not text]"))
    return f"[content of type {block.type}]"
