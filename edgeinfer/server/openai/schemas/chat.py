"""POST /v1/chat/completions and /apply-template."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, field_validator

from edgeinfer.errors import InvalidRequest, UnsupportedParameter
from edgeinfer.server.http.json_decoder import has_more_values
from edgeinfer.server.http.quoting import quoted
from edgeinfer.server.http.request_model import Items, RequestModel, Strict
from edgeinfer.server.openai.schemas.adapt import adapt_thinking
from edgeinfer.server.openai.schemas.formats import FormatFields
from edgeinfer.server.openai.schemas.sampling import MaxTokens
from edgeinfer.server.openai.schemas.tools import (
    MAX_TOOLS,
    FunctionDefinition,
    FunctionReference,
    ToolChoiceParam,
    ToolParams,
)

MAX_MESSAGES = 8192
MAX_PARTS = 1024
"""Parts of one message's content."""

INSTEAD: Mapping[str, str] = {
    "image": "models here do not see: describe the image in words, and leave it out of the conversation",
    "video": "models here do not see: describe the video in words, and leave it out of the conversation",
    "audio": "models here do not hear: send the words that are spoken",
    "file": "send the file's text as a part of type text",
}
"""What to do about a part that is not text, by a word in its type."""

MAX_VARIABLES = 4096
"""Values in all variables for the template together: its process gets a masked copy of each."""


class TextPart(Strict):
    """A piece of text. A mark for a provider's cache has no effect: every prefix is cached."""

    type: Literal["text"]
    text: str
    cache_control: Any = None


class FunctionCallParam(Strict):
    """A call. Other servers give its arguments as an object."""

    name: str
    arguments: str | dict[str, Any] | None = None


class ToolCallParam(Strict):
    id: str | None = None
    type: Literal["function"] = "function"
    function: FunctionCallParam
    index: int | None = None


RoleParam = Literal["system", "developer", "user", "assistant", "tool", "function"]


class ChatMessageParam(Strict):
    """One turn. An answer of ours, as an OpenAI client dumps it, can be sent back unchanged.

    `reasoning` is what other servers call `reasoning_content`.
    """

    role: RoleParam
    content: str | Annotated[Items[TextPart], Field(max_length=MAX_PARTS)] | None = None
    name: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    reasoning_details: list[Any] | None = None
    cache_control: Any = None
    refusal: str | None = None
    tool_calls: Items[ToolCallParam] | None = Field(None, max_length=MAX_TOOLS)
    tool_call_id: str | None = None
    annotations: list[Any] | None = None
    audio: None = None
    function_call: FunctionCallParam | None = None


def _few_variables(variables: dict[str, Any]) -> dict[str, Any]:
    if has_more_values(variables, MAX_VARIABLES):
        raise ValueError(f"may hold at most {MAX_VARIABLES:,} values")
    return variables


class ConversationFields(RequestModel):
    """The messages, and variables for the model's template."""

    messages: Items[ChatMessageParam] = Field(min_length=1, max_length=MAX_MESSAGES)
    chat_template_kwargs: Annotated[dict[str, Any], AfterValidator(_few_variables)] | None = None

    @field_validator("messages", mode="before")
    @classmethod
    def _only_text(cls, value: Any) -> Any:
        for i, message in enumerate(value if isinstance(value, list) else []):
            content = message.get("content") if isinstance(message, dict) else None
            if isinstance(content, list):
                if message.get("role") == "assistant":
                    content = message["content"] = [_refusal_as_text(part) for part in content]
                _check_parts(f"messages[{i}].content", content)
        return value


def _refusal_as_text(part: Any) -> Any:
    """A refusal is what an assistant of OpenAI's has said."""
    if isinstance(part, dict) and part.keys() == {"type", "refusal"} and part["type"] == "refusal":
        return {"type": "text", "text": part["refusal"]}
    return part


def _check_parts(where: str, parts: Sequence[Any]) -> None:
    for j, part in enumerate(parts):
        kind = part.get("type") if isinstance(part, dict) else None
        if isinstance(kind, str) and kind != "text":
            raise UnsupportedParameter(
                f"content of type {quoted(kind)} is not supported: only text is",
                param=f"{where}[{j}].type",
                hint=next((hint for word, hint in INSTEAD.items() if word in kind), None),
            )


class ChatRequest(FormatFields, ConversationFields):
    tools: ToolParams | None = None
    tool_choice: ToolChoiceParam | None = None
    parallel_tool_calls: bool = True
    functions: Annotated[Items[FunctionDefinition], Field(max_length=MAX_TOOLS)] | None = None
    function_call: Literal["none", "auto"] | FunctionReference | None = None
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = None
    thinking_budget: int | None = Field(None, ge=0, le=2**31 - 1)
    continue_final_message: bool | None = None
    add_generation_prompt: bool | None = None
    max_completion_tokens: MaxTokens | None = None
    logprobs: bool = False
    top_logprobs: int | None = Field(None, ge=0, le=20)

    @classmethod
    def adapt(cls, values: dict[str, Any]) -> None:
        super().adapt(values)
        adapt_thinking(values)

    def token_limit(self) -> int | None:
        """The maximum length of an answer, which has two names; -1 is without limit."""
        limits = {self.max_tokens, self.max_completion_tokens} - {None}
        if len(limits) > 1:
            raise InvalidRequest(
                "max_tokens and max_completion_tokens have different values: use one of them",
                param="max_completion_tokens",
            )
        return limits.pop() if limits else None

    def check_functions(self) -> None:
        """Raises InvalidRequest for tools in the old form beside those in today's."""
        if self.functions and (self.tools or self.tool_choice):
            raise InvalidRequest(
                "functions and tools cannot be combined", param="functions", hint="use tools"
            )
        if self.function_call and self.tool_choice:
            raise InvalidRequest("function_call and tool_choice cannot be combined", param="function_call")

    def check_continuation(self) -> None:
        """Raises InvalidRequest for fields that contradict the messages: an assistant's last one is always continued."""
        continues = self.messages[-1].role == "assistant"
        if self.continue_final_message and not continues:
            raise InvalidRequest(
                "continue_final_message requires the last message to be the assistant's",
                param="continue_final_message",
            )
        if self.continue_final_message is False and continues:
            raise UnsupportedParameter(
                "an assistant's message at the end is always continued",
                param="continue_final_message",
                hint="end with a user message",
            )
        if self.add_generation_prompt is False and not continues:
            raise UnsupportedParameter(
                "an answer begins with the assistant's turn",
                param="add_generation_prompt",
                hint="POST /v1/completions continues a text without one",
            )

    def logprob_count(self) -> int | None:
        """The number of alternatives to show for each token; None is without log-probabilities."""
        if self.top_logprobs is not None and not self.logprobs:
            raise InvalidRequest("top_logprobs requires logprobs to be true", param="top_logprobs")
        return (self.top_logprobs or 0) if self.logprobs else None


class ApplyTemplateRequest(ConversationFields):
    model: str | None = None
    tools: ToolParams | None = None
    add_generation_prompt: bool = True
