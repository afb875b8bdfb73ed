"""The content of messages and results: a text, or a list of parts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from edgeinfer.errors import UnsupportedParameter
from edgeinfer.server.http.request_model import Items

MAX_PARTS = 1024
"""Parts of one message's content."""

NO_IMAGES = "images are not supported: describe in a text what they show, or leave them out"
UNSUPPORTED_PARTS = {
    "input_image": NO_IMAGES,
    "image_url": NO_IMAGES,
    "computer_screenshot": NO_IMAGES,
    "input_file": "files are not supported: send their text as an input_text",
    "input_audio": "audio is not supported: send a transcript as an input_text",
}
"""Parts that are no text, and what to do instead."""


class ItemModel(BaseModel):
    """A part of a conversation. What clients send back of answers has more fields than are read here, and they vary."""

    model_config = ConfigDict(extra="ignore", strict=True, allow_inf_nan=False, frozen=True)


class ContentPart(ItemModel):
    """A piece of text."""

    type: Literal["input_text", "output_text", "text", "summary_text", "reasoning_text"]
    text: str


class RefusalPart(ItemModel):
    """What an assistant has said instead of an answer."""

    type: Literal["refusal"]
    refusal: str


Part = Annotated[ContentPart | RefusalPart, Field(discriminator="type")]
ContentParam = str | Annotated[Items[Part], Field(max_length=MAX_PARTS)]


def text_of(content: str | Sequence[ContentPart | RefusalPart]) -> str:
    """The parts as one text, each on a line of its own."""
    if isinstance(content, str):
        return content
    return "\n".join(part.text if isinstance(part, ContentPart) else part.refusal for part in content)


def check_parts(items: Sequence[Any]) -> None:
    """Raise UnsupportedParameter for a part of `items`, which are not checked yet, that is no text."""
    for n, item in enumerate(items):
        for field in ("content", "output") if isinstance(item, dict) else ():
            parts = item.get(field)
            for m, part in enumerate(parts if isinstance(parts, list) else [parts]):
                kind = part.get("type") if isinstance(part, dict) else None
                if isinstance(kind, str) and kind in UNSUPPORTED_PARTS:
                    place = f"[{m}]" if isinstance(parts, list) else ""
                    raise UnsupportedParameter(
                        UNSUPPORTED_PARTS[kind], param=f"input[{n}].{field}{place}.type"
                    )
