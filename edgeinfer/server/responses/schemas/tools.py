"""The tools that a request offers, in the Responses API's flat form, and how they may be used."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NamedTuple

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag, WrapValidator

from edgeinfer.server.http.json_decoder import has_more_values
from edgeinfer.server.http.request_model import Items
from edgeinfer.server.openai.schemas.tools import (
    MAX_TOOL_VALUES,
    MAX_TOOLS,
    FunctionName,
    required_if_any,
)
from edgeinfer.server.responses.schemas.content import ItemModel


class FunctionTool(ItemModel):
    """`parameters` is a JSON schema of an object. Arguments are always held to it, `strict` or not."""

    type: Literal["function"]
    name: FunctionName
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class FreeFormat(ItemModel):
    type: Literal["text"]


class GrammarToolFormat(ItemModel):
    """A regular expression is enforced. A grammar in Lark is shown to the model."""

    type: Literal["grammar"]
    syntax: Literal["lark", "regex"]
    definition: str


class CustomTool(ItemModel):
    """A tool that takes a text instead of arguments."""

    type: Literal["custom"]
    name: FunctionName
    description: str | None = None
    format: Annotated[FreeFormat | GrammarToolFormat, Field(discriminator="type")] | None = None


class OtherTool(ItemModel):
    """A tool that its provider runs. There is none here, so it is skipped, and named in a header."""

    type: Annotated[str, Field(max_length=64)]


def _kind(value: Any) -> str:
    kind = value.get("type") if isinstance(value, dict) else None
    return kind if isinstance(kind, str) and kind in ("function", "custom", "namespace") else "other"


CallableTool = Annotated[
    Annotated[FunctionTool, Tag("function")]
    | Annotated[CustomTool, Tag("custom")]
    | Annotated[OtherTool, Tag("other")]
    | Annotated[OtherTool, Tag("namespace")],
    Discriminator(_kind),
]


class ToolNamespace(ItemModel):
    """Several tools, whose names are unique among themselves: those of one MCP server."""

    type: Literal["namespace"]
    name: FunctionName
    description: str | None = None
    tools: Items[CallableTool] = Field([], max_length=MAX_TOOLS)


AnyTool = FunctionTool | CustomTool | ToolNamespace | OtherTool


class OfferedTool(NamedTuple):
    """A tool that has been checked, and as it came: so a response repeats it."""

    tool: AnyTool
    raw: Any


def _checked(value: Any, handler: Any) -> OfferedTool:
    return OfferedTool(handler(value), value)


OfferedToolParam = Annotated[
    Annotated[FunctionTool, Tag("function")]
    | Annotated[CustomTool, Tag("custom")]
    | Annotated[ToolNamespace, Tag("namespace")]
    | Annotated[OtherTool, Tag("other")],
    Discriminator(_kind),
    WrapValidator(_checked),
]


def _few_values(tools: list[OfferedTool]) -> list[OfferedTool]:
    if has_more_values([tool.raw for tool in tools], MAX_TOOL_VALUES):
        raise ValueError(f"may hold at most {MAX_TOOL_VALUES:,} values together")
    return tools


OfferedTools = Annotated[Items[OfferedToolParam], Field(max_length=MAX_TOOLS), AfterValidator(_few_values)]


class NamedToolChoice(ItemModel):
    type: Literal["function", "custom"]
    name: FunctionName
    namespace: str | None = None


class ToolSubset(ItemModel):
    """The tools of `tools` that may be called. Those that a provider runs are skipped here too."""

    type: Literal["allowed_tools"]
    mode: Literal["auto", "required"]
    tools: Items[dict[str, Any]] = Field(min_length=1, max_length=MAX_TOOLS)


ToolSelection = Annotated[
    Literal["none", "auto", "required"]
    | Annotated[NamedToolChoice | ToolSubset, Field(discriminator="type")],
    BeforeValidator(required_if_any),
]
