"""The tools that a chat request offers, and how they may be used. `chat.tools` judges what is in them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from edgeinfer.server.http.request_model import Strict

MAX_TOOLS = 256

FunctionName = Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]


class FunctionDefinition(Strict):
    """`parameters` is a JSON schema of an object. Arguments are always held to it, `strict` or not."""

    name: FunctionName
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(Strict):
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


ToolChoice = Literal["none", "auto", "required"] | NamedTool | AllowedToolsChoice
Tools = Annotated[list[Tool], Field(max_length=MAX_TOOLS)]
