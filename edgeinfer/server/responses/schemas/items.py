"""The items of a conversation: messages, thoughts, calls and their results."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Discriminator, Field, Tag, WrapValidator

from edgeinfer.server.http.request_model import Items
from edgeinfer.server.responses.schemas.content import MAX_PARTS, ContentParam, ItemModel

MAX_ITEMS = 8192

ItemName = Annotated[str, Field(max_length=256)]


class MessageItem(ItemModel):
    """A message. `type` may be left out."""

    type: Literal["message"] = "message"
    role: Literal["user", "assistant", "system", "developer"]
    content: ContentParam


class ReasoningPart(ItemModel):
    type: Literal["summary_text", "reasoning_text", "text"]
    text: str


class ReasoningItem(ItemModel):
    """Thoughts of an earlier answer. `encrypted_content` is what an item of ours had there."""

    type: Literal["reasoning"]
    summary: Items[ReasoningPart] = Field([], max_length=MAX_PARTS)
    content: Items[ReasoningPart] | None = Field(None, max_length=MAX_PARTS)
    encrypted_content: str | None = None


class FunctionCallItem(ItemModel):
    type: Literal["function_call"]
    call_id: str
    name: ItemName
    arguments: str
    namespace: ItemName | None = None


class FunctionCallOutputItem(ItemModel):
    type: Literal["function_call_output"]
    call_id: str
    output: ContentParam


class CustomToolCallItem(ItemModel):
    type: Literal["custom_tool_call"]
    call_id: str
    name: ItemName
    input: str
    namespace: ItemName | None = None


class CustomToolCallOutputItem(ItemModel):
    type: Literal["custom_tool_call_output"]
    call_id: str
    output: ContentParam


class ItemReference(ItemModel):
    """An item of a stored response, which stands here by its id."""

    type: Literal["item_reference"]
    id: str


class OtherItem(ItemModel):
    """An item of a kind that says nothing to the model here. It is skipped, and named in a header."""

    type: Annotated[str, Field(max_length=64)]


KINDS: dict[str, type[ItemModel]] = {
    "message": MessageItem,
    "reasoning": ReasoningItem,
    "function_call": FunctionCallItem,
    "function_call_output": FunctionCallOutputItem,
    "custom_tool_call": CustomToolCallItem,
    "custom_tool_call_output": CustomToolCallOutputItem,
    "item_reference": ItemReference,
}

AnyItem = (
    MessageItem
    | ReasoningItem
    | FunctionCallItem
    | FunctionCallOutputItem
    | CustomToolCallItem
    | CustomToolCallOutputItem
    | ItemReference
    | OtherItem
)


class InputItem(NamedTuple):
    """An item that has been checked, and as it came: so it is stored."""

    item: AnyItem
    raw: dict[str, Any]


def user_message(text: str) -> InputItem:
    """A text of the user, as an item."""
    raw = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}
    return InputItem(MessageItem(role="user", content=text), raw)


def _kind(value: Any) -> str:
    """The tag of the model for an item. One without a type is a message, or a reference if it has only an id."""
    if not isinstance(value, dict):
        return "message"
    if "type" not in value:
        return "item_reference" if "id" in value and "role" not in value else "message"
    kind = value["type"]
    return kind if isinstance(kind, str) and kind in KINDS else "other"


def _checked(value: Any, handler: Any) -> InputItem:
    if isinstance(value, dict) and "type" not in value:
        value = {"type": _kind(value), **value}
    return InputItem(handler(value), value)


ItemParam = Annotated[
    Annotated[MessageItem, Tag("message")]
    | Annotated[ReasoningItem, Tag("reasoning")]
    | Annotated[FunctionCallItem, Tag("function_call")]
    | Annotated[FunctionCallOutputItem, Tag("function_call_output")]
    | Annotated[CustomToolCallItem, Tag("custom_tool_call")]
    | Annotated[CustomToolCallOutputItem, Tag("custom_tool_call_output")]
    | Annotated[ItemReference, Tag("item_reference")]
    | Annotated[OtherItem, Tag("other")],
    Discriminator(_kind),
    WrapValidator(_checked),
]
