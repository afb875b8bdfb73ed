"""Turns content blocks into the texts that a model reads."""

from __future__ import annotations

from collections.abc import Iterable

from edgeinfer.errors import InvalidRequest, UnsupportedParameter
from edgeinfer.server.anthropic.schemas.blocks import (
    BinarySource,
    ContentSource,
    DocumentBlock,
    ImageBlock,
    SearchResultBlock,
    TextBlock,
    TextSource,
    ToolReferenceBlock,
    ToolResultBlock,
)

UNSEEN_IMAGE = "[An image, which this model cannot see.]"
UNREAD_FILE = "[A file, which this model cannot read.]"

Readable = TextBlock | ImageBlock | DocumentBlock | SearchResultBlock | ToolReferenceBlock


def block_text(block: Readable, where: str) -> str:
    """The text of a block. Raises UnsupportedParameter for a picture or a file, which has none."""
    match block:
        case TextBlock():
            return block.text
        case ImageBlock():
            raise UnsupportedParameter(
                "models are given text only here, not images",
                param=where,
                hint="leave the image out, or describe it in words",
            )
        case DocumentBlock():
            return _lines([block.title, block.context, _source_text(block, where)])
        case SearchResultBlock():
            return _lines([block.title, block.source, *(part.text for part in block.content)])
        case ToolReferenceBlock():
            return block.tool_name


def result_text(block: ToolResultBlock, where: str) -> str:
    """What a tool returned. A picture or a file in it is named: the client cannot take it back."""
    if block.content is None or isinstance(block.content, str):
        text = block.content or ""
    else:
        parts = enumerate(block.content)
        text = _lines(_result_part(part, f"{where}.content[{n}]") for n, part in parts)
    return f"Error: {text}" if block.is_error else text


def _result_part(part: Readable, where: str) -> str:
    if isinstance(part, ImageBlock):
        return UNSEEN_IMAGE
    if isinstance(part, DocumentBlock) and isinstance(part.source, BinarySource):
        return UNREAD_FILE
    return block_text(part, where)


def _source_text(block: DocumentBlock, where: str) -> str:
    match block.source:
        case TextSource():
            return block.source.data
        case ContentSource():
            parts = block.source.content
            if isinstance(parts, str):
                return parts
            return _lines(block_text(p, f"{where}.source.content[{n}]") for n, p in enumerate(parts))
        case BinarySource():
            raise UnsupportedParameter(
                f"a document with a source of type {block.source.type!r} cannot be read here",
                param=f"{where}.source.type",
                hint='send its text: "source": {"type": "text", "media_type": "text/plain", "data": …}',
            )


def _lines(texts: Iterable[str | None]) -> str:
    return "\n".join(text for text in texts if text)


def misplaced(kind: str, role: str, where: str) -> InvalidRequest:
    """The error for a block that a message of this role cannot have."""
    return InvalidRequest(f"a message of the {role} cannot have a block of type {kind!r}", param=where)
