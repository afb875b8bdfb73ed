"""The content blocks of messages."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from edgeinfer.server.http.request_model import Items

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
    "container_upload",
)
"""What Anthropic's own servers add to a conversation."""


class Tolerant(BaseModel):
    """Accepts exact types and finite numbers only, but any other fields: clients send new ones before they are documented."""

    model_config = ConfigDict(extra="ignore", strict=True, allow_inf_nan=False, frozen=True)


class TextBlock(Tolerant):
    type: Literal["text"]
    text: str


class ImageBlock(Tolerant):
    type: Literal["image"]


class TextSource(Tolerant):
    type: Literal["text"]
    data: str


SourceBlock = Annotated[TextBlock | ImageBlock, Field(discriminator="type")]


class ContentSource(Tolerant):
    type: Literal["content"]
    content: str | Items[SourceBlock]


class BinarySource(Tolerant):
    """A file, here or elsewhere."""

    type: Literal["base64", "url", "file"]


class DocumentBlock(Tolerant):
    type: Literal["document"]
    source: Annotated[TextSource | ContentSource | BinarySource, Field(discriminator="type")]
    title: str | None = None
    context: str | None = None


class SearchResultBlock(Tolerant):
    type: Literal["search_result"]
    source: str
    title: str
    content: Items[TextBlock]


class ToolReferenceBlock(Tolerant):
    """A tool that a search among tools found."""

    type: Literal["tool_reference"]
    tool_name: str


ResultBlock = Annotated[
    TextBlock | ImageBlock | DocumentBlock | SearchResultBlock | ToolReferenceBlock,
    Field(discriminator="type"),
]


class ToolResultBlock(Tolerant):
    type: Literal["tool_result"]
    tool_use_id: str
    content: str | Items[ResultBlock] | None = None
    is_error: bool | None = None


class ToolUseBlock(Tolerant):
    type: Literal["tool_use"]
    id: str
    name: str
    input: dict[str, Any]


class ThinkingBlock(Tolerant):
    type: Literal["thinking"]
    thinking: str
    signature: str | None = None


class RedactedThinkingBlock(Tolerant):
    """Thoughts that only Anthropic's servers can read."""

    type: Literal["redacted_thinking"]


class CompactionBlock(Tolerant):
    """A summary of what came before."""

    type: Literal["compaction"]
    content: str | None = None


class ServerBlock(Tolerant):
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
