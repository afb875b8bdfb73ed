"""POST /v1/chat/completions and /apply-template."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator

from edgeinfer.errors import InvalidRequest, UnsupportedParameter
from edgeinfer.inference.types import ModelInfo
from edgeinfer.server.http.request_model import Harmless, RequestModel, Strict
from edgeinfer.server.openai.schemas.formats import FormFields
from edgeinfer.server.openai.schemas.sampling import LLAMA_SERVER, MaxTokens, SamplingFields
from edgeinfer.server.openai.schemas.tools import MAX_TOOLS, ToolChoiceParam, ToolParams

MAX_MESSAGES = 8192
MAX_PARTS = 1024
"""Parts of one message's content."""

NOT_YET: Mapping[str, Harmless] = {
    "audio": (),
    "function_call": ("none", "auto"),
    "functions": ([],),
    "modalities": (["text"],),
    "moderation": (),
    "prediction": (),
    "service_tier": ("auto", "default"),
    "store": (False,),
    "verbosity": ("medium",),
    "web_search_options": (),
}
"""OpenAI's fields that are not supported yet."""


class TextPart(Strict):
    type: Literal["text"]
    text: str


class FunctionCallParam(Strict):
    name: str
    arguments: str


class ToolCallParam(Strict):
    id: str | None = None
    type: Literal["function"] = "function"
    function: FunctionCallParam
    index: int | None = None


RoleParam = Literal["system", "developer", "user", "assistant", "tool", "function"]


class ChatMessageParam(Strict):
    """One turn. An answer of ours, as an OpenAI client dumps it, can be sent back unchanged."""

    role: RoleParam
    content: str | Annotated[list[TextPart], Field(max_length=MAX_PARTS)] | None = None
    name: str | None = None
    reasoning_content: str | None = None
    refusal: str | None = None
    tool_calls: list[ToolCallParam] | None = Field(None, max_length=MAX_TOOLS)
    tool_call_id: str | None = None
    annotations: list[Any] | None = None
    audio: None = None
    function_call: None = None


class ConversationFields(RequestModel):
    """The messages, and variables for the model's template."""

    messages: list[ChatMessageParam] = Field(min_length=1, max_length=MAX_MESSAGES)
    chat_template_kwargs: dict[str, Any] | None = None

    @field_validator("messages", mode="before")
    @classmethod
    def _only_text(cls, value: Any) -> Any:
        for i, message in enumerate(value if isinstance(value, list) else []):
            content = message.get("content") if isinstance(message, dict) else None
            _check_parts(f"messages[{i}].content", content if isinstance(content, list) else [])
        return value


def _check_parts(where: str, parts: Sequence[Any]) -> None:
    for j, part in enumerate(parts):
        kind = part.get("type") if isinstance(part, dict) else None
        if isinstance(kind, str) and kind != "text":
            raise UnsupportedParameter(
                f"content of type {kind!r} is not supported", param=f"{where}[{j}].type"
            )


EFFORT = {"minimal": 32, "low": 8, "medium": 4, "high": 2}
"""Effort -> n, where thoughts may take 1/n of the context; beyond "high" they are unbounded."""


class ChatRequest(FormFields, ConversationFields):
    tools: ToolParams | None = None
    tool_choice: ToolChoiceParam | None = None
    parallel_tool_calls: bool = True
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = None
    thinking_budget: int | None = Field(None, ge=0, le=2**31 - 1)
    max_completion_tokens: MaxTokens | None = None
    logprobs: bool = False
    top_logprobs: int | None = Field(None, ge=0, le=20)

    unsupported: ClassVar[Mapping[str, Harmless]] = {**LLAMA_SERVER, **NOT_YET}
    accepted: ClassVar[frozenset[str]] = SamplingFields.accepted | {
        "prompt_cache_options",
        "prompt_cache_retention",
    }

    def thinking_tokens(self, info: ModelInfo) -> int | None:
        """The most tokens an answer may think; None is no bound, 0 is no thinking."""
        if self.thinking_budget is not None or self.reasoning_effort is None:
            return self.thinking_budget
        if self.reasoning_effort == "none":
            return 0
        part = EFFORT.get(self.reasoning_effort)
        return info.ctx // part if part else None

    def limit(self) -> int | None:
        """The most tokens an answer may have; two names, one value."""
        both = {self.max_tokens, self.max_completion_tokens} - {None}
        if len(both) > 1:
            message = "max_tokens and max_completion_tokens differ: give one"
            raise InvalidRequest(message, param="max_completion_tokens")
        return both.pop() if both else None

    def wanted_logprobs(self) -> int | None:
        if self.top_logprobs is not None and not self.logprobs:
            raise InvalidRequest("top_logprobs need logprobs to be true", param="top_logprobs")
        return (self.top_logprobs or 0) if self.logprobs else None


class ApplyTemplateRequest(ConversationFields):
    model: str | None = None
    tools: list[dict[str, Any]] | None = Field(None, max_length=MAX_TOOLS)
    add_generation_prompt: bool = True
