"""The content blocks of messages."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from edgeinfer.server.http.request_model import Items, Strict

SERVER_BLOCKS = (
    "server_tool_use",
    "web_search_tool_result",
    "web_fetch_tool_result",
    "code_execution_tool_result",
    "bash_code_execution_tool_result",
    "text_editor_code_execution_tool_result",
    "tool_search_tool_result",
    "mcp_tool_use",
    "mcp_tool_result",
    "mcp_tool_listing",
    "advisor_tool_result",
    "fallback",
    "container_upload",
)
"""What Anthropic's own servers add to a conversation."""


class MarkedBlock(Strict):
    """A block that may have a mark for the cache, which has no effect: every prefix is cached."""

    cache_control: Any = None


class TextBlock(MarkedBlock):
    type: Literal["text"]
    text: str
    citations: Any = None


class ImageBlock(MarkedBlock):
    type: Literal["image"]
    source: Any = None


class TextSource(Strict):
    type: Literal["text"]
    data: str
    media_type: str | None = None


SourceBlock = Annotated[TextBlock | ImageBlock, Field(discriminator="type")]


class ContentSource(Strict):
    type: Literal["content"]
    content: str | Items[SourceBlock]


class BinarySource(Strict):
    """A file, here or elsewhere."""

    type: Literal["base64", "url", "file"]
    media_type: Any = None
    data: Any = None
    url: Any = None
    file_id: Any = None


class DocumentBlock(MarkedBlock):
    type: Literal["document"]
    source: Annotated[TextSource | ContentSource | BinarySource, Field(discriminator="type")]
    title: str | None = None
    context: str | None = None
    citations: Any = None


class SearchResultBlock(MarkedBlock):
    type: Literal["search_result"]
    source: str
    title: str
    content: Items[TextBlock]
    citations: Any = None


class ToolReferenceBlock(MarkedBlock):
    """A tool that a search among tools found."""

    type: Literal["tool_reference"]
    tool_name: str


ResultBlock = Annotated[
    TextBlock | ImageBlock | DocumentBlock | SearchResultBlock | ToolReferenceBlock,
    Field(discriminator="type"),
]


class ToolResultBlock(MarkedBlock):
    type: Literal["tool_result"]
    tool_use_id: str
    content: str | Items[ResultBlock] | None = None
    is_error: bool | None = None


class ToolUseBlock(MarkedBlock):
    type: Literal["tool_use"]
    id: str
    name: str
    input: dict[str, Any]
    caller: Any = None


class ThinkingBlock(Strict):
    type: Literal["thinking"]
    thinking: str
    signature: str | None = None


class RedactedThinkingBlock(Strict):
    """Thoughts that only Anthropic's servers can read."""

    type: Literal["redacted_thinking"]
    data: Any = None


class CompactionBlock(MarkedBlock):
    """A summary of what came before."""

    type: Literal["compaction"]
    content: str | None = None
    encrypted_content: Any = None
    signature: Any = None


class ServerBlock(Strict):
    type: Literal[SERVER_BLOCKS]  # type: ignore[valid-type]


Block = Annotated[
    TextBlock
    | ImageBlock
    | DocumentBlock
    | SearchResultBlock
    | ToolUseBlock
    | ToolResultBlock
    | ThinkingBlock
    | RedactedThinkingBlock
    | CompactionBlock
    | ServerBlock,
    Field(discriminator="type"),
]
