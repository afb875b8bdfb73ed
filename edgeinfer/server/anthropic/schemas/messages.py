"""POST /v1/messages and /v1/messages/count_tokens."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from edgeinfer.server.anthropic.schemas.blocks import Block, TextBlock
from edgeinfer.server.anthropic.schemas.tools import ToolChoiceField, ToolDefinitions
from edgeinfer.server.http.request_model import Items, RequestModel, Strict
from edgeinfer.server.openai.schemas.chat import MAX_MESSAGES
from edgeinfer.server.openai.schemas.sampling import MAX_STOPS, Stop

ACCEPTED = frozenset(
    {
        "betas",
        "cache_control",
        "context_management",
        "diagnostics",
        "inference_geo",
        "service_tier",
        "speed",
        "user_profile_id",
    }
)
"""Fields without effect on an answer. Others, whose effect somebody could miss, are named as ignored."""


class MessageParam(Strict):
    """One turn, or a part of one: turns of one role in a row are one."""

    role: Literal["user", "assistant", "system"]
    content: str | Items[Block]


class ThinkingConfig(Strict):
    """Whether the model thinks first. Without it, it does not."""

    type: Literal["enabled", "disabled", "adaptive", "between_tools"]
    budget_tokens: int | None = Field(None, ge=1, le=2**31 - 1)
    display: Literal["summarized", "omitted"] | None = None


class JsonOutputFormat(Strict):
    type: Literal["json_schema"]
    schema_: dict[str, Any] = Field(alias="schema")


class OutputConfig(Strict):
    effort: Literal["low", "medium", "high", "xhigh", "max"] | None = None
    format: JsonOutputFormat | None = None
    task_budget: Any = None


class PromptFields(RequestModel):
    """What a prompt is made of."""

    accepted: ClassVar[frozenset[str]] = ACCEPTED
    forgiving: ClassVar[bool] = True

    model: str | None = None
    messages: Items[MessageParam] = Field(min_length=1, max_length=MAX_MESSAGES)
    system: str | Items[TextBlock] | None = None
    tools: ToolDefinitions | None = None
    tool_choice: ToolChoiceField | None = None
    thinking: ThinkingConfig | None = None
    output_config: OutputConfig | None = None
    output_format: JsonOutputFormat | None = None


class MessagesRequest(PromptFields):
    """A request for an answer. With a `max_tokens` of 0 its prompt is put into the cache, and nothing is answered."""

    max_tokens: int = Field(ge=0, le=2**31 - 1)
    stream: bool = False
    stop_sequences: Annotated[Items[Stop], Field(max_length=MAX_STOPS)] | None = None
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, ge=0, le=1)
    top_k: int | None = Field(None, ge=0, le=2**31 - 1)
    metadata: dict[str, Any] | None = None

    @property
    def session(self) -> object:
        """What the client calls the user, with whom Claude Code names the session."""
        return (self.metadata or {}).get("user_id")

    @property
    def shows_thoughts(self) -> bool:
        return self.thinking is None or self.thinking.display != "omitted"


class CountTokensRequest(PromptFields):
    """The fields of a request for an answer that its prompt depends on; it may have the others."""

    accepted: ClassVar[frozenset[str]] = ACCEPTED | (MessagesRequest.known - PromptFields.known)
