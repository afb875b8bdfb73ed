"""The tools that a chat request offers, and how they may be used."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, WithJsonSchema

from edgeinfer.chat.tools.tool import TOOL_NAME
from edgeinfer.server.http.request_model import Strict

MAX_TOOLS = 256

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


class FunctionReference(Strict):
    name: FunctionName


class NamedTool(Strict):
    type: Literal["function"]
    function: FunctionReference


class AllowedTools(Strict):
    mode: Literal["auto", "required"]
    tools: list[NamedTool] = Field(min_length=1, max_length=MAX_TOOLS)


class AllowedToolsChoice(Strict):
    type: Literal["allowed_tools"]
    allowed_tools: AllowedTools


ToolChoiceParam = (
    Literal["none", "auto", "required"]
    | Annotated[NamedTool | AllowedToolsChoice, Field(discriminator="type")]
)
ToolParams = Annotated[list[ToolParam], Field(max_length=MAX_TOOLS)]
