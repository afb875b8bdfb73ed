"""POST /api/chat."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from edgeinfer.server.http.request_model import Items, Strict
from edgeinfer.server.ollama.schemas.generation import GenerationRequest
from edgeinfer.server.openai.schemas.tools import MAX_TOOLS, FunctionDefinition, few_values

OllamaRole = Literal["system", "user", "assistant", "tool", "developer"]


def _lower(role: object) -> object:
    return role.lower() if isinstance(role, str) else role


class CalledFunction(Strict):
    name: str
    arguments: dict[str, Any] | None = None
    index: Any = None


class CallParam(Strict):
    function: CalledFunction
    id: str | None = None
    type: Any = None


class OllamaMessageParam(Strict):
    """A result names its call by `tool_call_id` or its tool by `tool_name`; with neither, the order decides."""

    role: Annotated[OllamaRole, BeforeValidator(_lower)]
    content: str | None = None
    thinking: str | None = None
    images: list[Any] | None = None
    tool_calls: Items[CallParam] | None = None
    tool_name: str | None = None
    tool_call_id: str | None = None


class OllamaTool(Strict):
    function: FunctionDefinition
    type: Literal["function"] | None = None


OllamaTools = Annotated[Items[OllamaTool], Field(max_length=MAX_TOOLS), AfterValidator(few_values)]


class OllamaChatRequest(GenerationRequest):
    messages: Items[OllamaMessageParam] = Field(default_factory=list)
    tools: OllamaTools | None = None
