"""The tools that a request offers, and how they may be used."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from edgeinfer.server.http.json_decoder import has_more_values
from edgeinfer.server.http.request_model import Items, Strict
from edgeinfer.server.openai.schemas.tools import MAX_TOOL_VALUES, MAX_TOOLS


class ToolDefinition(Strict):
    """A tool. One with another type than "custom" is defined by Anthropic, and has no schema."""

    type: str | None = None
    name: str | None = None
    description: str | None = None
    input_schema: dict[str, Any] | None = None
    strict: bool | None = None
    cache_control: Any = None
    defer_loading: Any = None
    eager_input_streaming: Any = None
    allowed_callers: Any = None

    @property
    def is_custom(self) -> bool:
        return self.type in (None, "custom")


class ToolChoiceField(Strict):
    type: Literal["auto", "any", "tool", "none"]
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


def _few_values(tools: list[ToolDefinition]) -> list[ToolDefinition]:
    if has_more_values([tool.input_schema or {} for tool in tools], MAX_TOOL_VALUES):
        raise ValueError(f"may hold at most {MAX_TOOL_VALUES:,} values together")
    return tools


ToolDefinitions = Annotated[Items[ToolDefinition], Field(max_length=MAX_TOOLS), AfterValidator(_few_values)]
