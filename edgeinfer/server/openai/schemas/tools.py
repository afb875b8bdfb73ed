"""The tools that a chat request offers, and how they may be used."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from edgeinfer.chat.tools.tool import TOOL_NAME
from edgeinfer.server.http.json_decoder import has_more_values
from edgeinfer.server.http.request_model import Items, Strict

MAX_TOOLS = 256
MAX_TOOL_VALUES = 65_536
"""Values in the definitions of all tools together: the template's process gets a masked copy of each."""

FunctionName = Annotated[str, WithJsonSchema({"type": "string", "pattern": TOOL_NAME})]
"""`chat.tools.tool` checks it."""


class FunctionDefinition(Strict):
    """`parameters` is a JSON schema of an object. Arguments are always held to it, `strict` or not."""

    name: FunctionName
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class ToolParam(Strict):
    type: Literal["function"]
    function: FunctionDefinition
    cache_control: Any = None


def few_values(tools: list[Any]) -> list[Any]:
    """Check the size of all definitions together; each has a `function`."""
    if has_more_values([tool.function.parameters or {} for tool in tools], MAX_TOOL_VALUES):
        raise ValueError(f"may hold at most {MAX_TOOL_VALUES:,} values together")
    return tools


class FunctionReference(Strict):
    name: FunctionName


class NamedTool(Strict):
    type: Literal["function"]
    function: FunctionReference


class AllowedTools(Strict):
    mode: Literal["auto", "required"]
    tools: Items[NamedTool] = Field(min_length=1, max_length=MAX_TOOLS)


class AllowedToolsChoice(Strict):
    type: Literal["allowed_tools"]
    allowed_tools: AllowedTools


def required_if_any(value: object) -> object:
    """Turn Mistral's word, which Anthropic has too, into OpenAI's."""
    return "required" if value == "any" else value


ToolChoiceParam = Annotated[
    Literal["none", "auto", "required"]
    | Annotated[NamedTool | AllowedToolsChoice, Field(discriminator="type")],
    BeforeValidator(required_if_any),
]
ToolParams = Annotated[Items[ToolParam], Field(max_length=MAX_TOOLS), AfterValidator(few_values)]
