"""POST /v1/responses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, cast

from pydantic import AfterValidator, Field

from edgeinfer.server.http.request_model import Harmless, Items, RequestModel, Strict
from edgeinfer.server.openai.schemas.sampling import MAX_SALT_LENGTH
from edgeinfer.server.responses.schemas.content import check_parts
from edgeinfer.server.responses.schemas.items import MAX_ITEMS, InputItem, ItemParam, user_message
from edgeinfer.server.responses.schemas.tools import OfferedTool, OfferedTools, ToolSelection

LOGPROBS = "message.output_text.logprobs"
ENCRYPTED_THOUGHTS = "reasoning.encrypted_content"

MAX_METADATA = 16
MAX_INCLUDED = 64


Label = Annotated[str, Field(max_length=1024)]


def _short_metadata(metadata: dict[str, str]) -> dict[str, str]:
    if len(metadata) > MAX_METADATA:
        raise ValueError(f"may have at most {MAX_METADATA} entries")
    for key, value in metadata.items():
        if len(key) > 64 or len(value) > 512:
            raise ValueError("may have keys of up to 64 characters and values of up to 512")
    return metadata


class PlainText(Strict):
    type: Literal["text"]


class AnyJsonObject(Strict):
    type: Literal["json_object"]


class JsonText(Strict):
    """The answer is always held to the schema, `strict` or not."""

    type: Literal["json_schema"]
    name: Annotated[str, Field(pattern=r"^[a-zA-Z0-9_.-]{1,64}$")] = "answer"
    description: str | None = None
    schema_: dict[str, Any] | bool = Field(alias="schema")
    strict: bool | None = None


class TextOptions(Strict):
    """`verbosity` has no effect: a message can ask for it."""

    format: Annotated[PlainText | AnyJsonObject | JsonText, Field(discriminator="type")] | None = None
    verbosity: Literal["low", "medium", "high"] | None = None


class ReasoningOptions(Strict):
    """`summary`: thoughts come as a summary, which is all of them, instead of as reasoning text."""

    effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = None
    summary: Literal["auto", "concise", "detailed", "none"] | None = None
    generate_summary: Literal["auto", "concise", "detailed"] | None = None


class ResponseStreamOptions(Strict):
    """Obfuscation hides the lengths of pieces on a network that others watch. There is none here."""

    include_obfuscation: bool | None = None


class ResponsesRequest(RequestModel):
    """What a response repeats, or what changes the answer. Sampling takes the model's recommendations."""

    model: str | None = None
    input: str | Annotated[Items[ItemParam], Field(max_length=MAX_ITEMS)] = ""
    instructions: str | None = None
    previous_response_id: Annotated[str, Field(max_length=128)] | None = None
    store: bool = True
    stream: bool = False
    stream_options: ResponseStreamOptions | None = None
    include: Items[str] = Field([], max_length=MAX_INCLUDED)
    max_output_tokens: int | None = Field(None, ge=1, le=2**31 - 1)
    max_tool_calls: int | None = Field(None, ge=0)
    metadata: Annotated[dict[str, str], AfterValidator(_short_metadata)] = Field({})
    parallel_tool_calls: bool = True
    prompt_cache_key: Label | None = None
    reasoning: ReasoningOptions | None = None
    safety_identifier: Label | None = None
    service_tier: Label | None = None
    text: TextOptions | None = None
    tool_choice: ToolSelection = "auto"
    tools: OfferedTools = Field([])
    top_logprobs: int | None = Field(None, ge=0, le=20)
    truncation: Literal["auto", "disabled"] = "disabled"
    user: Label | None = None
    temperature: float | None = Field(None, ge=0, le=100)
    top_p: float | None = Field(None, ge=0, le=1)
    top_k: int | None = Field(None, ge=0, le=2**31 - 1)
    min_p: float | None = Field(None, ge=0, le=1)
    presence_penalty: float | None = Field(None, ge=-2, le=2)
    frequency_penalty: float | None = Field(None, ge=-2, le=2)
    seed: int | None = Field(None, ge=-(2**63), le=2**63 - 1)
    cache_salt: str | None = Field(None, min_length=1, max_length=MAX_SALT_LENGTH)

    forgiving: ClassVar[bool] = True
    accepted: ClassVar[frozenset[str]] = frozenset(
        {"client_metadata", "context_management", "prompt_cache_options", "prompt_cache_retention"}
    )
    unsupported: ClassVar[Mapping[str, Harmless]] = {
        "background": (False,),
        "conversation": (),
        "moderation": (),
        "prompt": (),
    }
    hints: ClassVar[Mapping[str, str]] = {
        "background": "leave it out, and stream the response",
        "conversation": "send previous_response_id, or the whole conversation as input",
        "prompt": "send its text as instructions",
    }

    @classmethod
    def adapt(cls, values: dict[str, Any]) -> None:
        if isinstance(items := values.get("input"), list):
            check_parts(items)

    @property
    def items(self) -> list[InputItem]:
        """The input as items."""
        if not isinstance(self.input, str):
            return cast("list[InputItem]", self.input)
        return [user_message(self.input)] if self.input else []

    @property
    def offered(self) -> list[OfferedTool]:
        """The tools, each with the way it came."""
        return cast("list[OfferedTool]", self.tools)

    @property
    def summary(self) -> str | None:
        """The summary of thoughts that is asked for."""
        options = self.reasoning
        return (options.summary or options.generate_summary) if options else None

    @property
    def summarizes(self) -> bool:
        """Thoughts come as a summary."""
        return (self.summary or "none") != "none"
