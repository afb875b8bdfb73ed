"""OpenAI's responses as structs, which msgspec encodes in a microsecond."""

from __future__ import annotations

from typing import Any, Generic, Literal, TypeVar

import msgspec
from msgspec import UNSET, Struct, UnsetType

from edgeinfer import __version__

FINGERPRINT = f"edgeinfer-{__version__}"

DONE = b"data: [DONE]\n\n"


class PromptTokensDetails(Struct):
    cached_tokens: int


class CompletionTokensDetails(Struct):
    """Guessed tokens, from a prediction or from what the answer repeats: right ones, and others."""

    accepted_prediction_tokens: int
    rejected_prediction_tokens: int


class CompletionUsage(Struct):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails
    completion_tokens_details: CompletionTokensDetails | UnsetType = UNSET


class Timings(Struct):
    """llama-server's fields, and the time that the request waited. Those of drafts come only with drafts.

    `models` comes only if several model files have written an answer: a node with another one has continued it.
    """

    cache_n: int
    prompt_n: int
    prompt_ms: float
    prompt_per_token_ms: float
    prompt_per_second: float
    predicted_n: int
    predicted_ms: float
    predicted_per_token_ms: float
    predicted_per_second: float
    queue_ms: float
    draft_n: int | UnsetType = UNSET
    draft_n_accepted: int | UnsetType = UNSET
    models: list[str] | UnsetType = UNSET


class ProgressCounts(Struct):
    """llama-server's fields: tokens of the prompt, and the time since its computation began."""

    total: int
    cache: int
    processed: int
    time_ms: int


class TopLogprob(Struct):
    token: str
    logprob: float
    bytes: list[int]


class TokenLogprob(TopLogprob):
    top_logprobs: list[TopLogprob]


class ChatLogprobs(Struct):
    content: list[TokenLogprob]
    refusal: None = None


class TextLogprobs(Struct):
    """The legacy form: four parallel lists."""

    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]] | None
    text_offset: list[int]


class Function(Struct):
    """The function of a call, or what a chunk adds to it."""

    arguments: str
    name: str | UnsetType = UNSET


class ChatToolCall(Struct):
    id: str
    function: Function
    type: Literal["function"] = "function"


class ChatToolCallDelta(Struct, omit_defaults=True):
    """A part of a call. The first has the id, the type and the name of the function."""

    index: int
    function: Function
    id: str | None = None
    type: Literal["function"] | None = None


class ChatMessage(Struct):
    content: str | None
    role: Literal["assistant"] = "assistant"
    refusal: None = None
    reasoning_content: str | UnsetType = UNSET
    tool_calls: list[ChatToolCall] | UnsetType = UNSET
    function_call: Function | UnsetType = UNSET


class ChatChoice(Struct):
    index: int
    message: ChatMessage
    logprobs: ChatLogprobs | None
    finish_reason: str


class ChatDelta(Struct, omit_defaults=True):
    role: Literal["assistant"] | None = None
    content: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[ChatToolCallDelta] | None = None
    function_call: Function | None = None


class ChatChunkChoice(Struct):
    index: int
    delta: ChatDelta
    logprobs: ChatLogprobs | None = None
    finish_reason: str | None = None


class TextChoice(Struct):
    """A choice of a completion, whole or in part."""

    index: int
    text: str
    logprobs: TextLogprobs | None = None
    finish_reason: str | None = None


Choice = ChatChoice | ChatChunkChoice | TextChoice

C = TypeVar("C")


class Completion(Struct, Generic[C]):
    """A response with choices, or a chunk of one. In chunks `usage` is null or absent, as OpenAI has it."""

    id: str
    object: Literal["chat.completion", "chat.completion.chunk", "text_completion"]
    created: int
    model: str
    choices: list[C]
    system_fingerprint: str = FINGERPRINT
    usage: CompletionUsage | UnsetType | None = UNSET
    timings: Timings | UnsetType = UNSET
    prompt_progress: ProgressCounts | UnsetType = UNSET


class Embedding(Struct):
    """`embedding` is a list, or base64 of little-endian floats."""

    index: int
    embedding: list[float] | str
    object: Literal["embedding"] = "embedding"


class EmbeddingUsage(Struct):
    prompt_tokens: int
    total_tokens: int


class EmbeddingList(Struct):
    data: list[Embedding]
    model: str
    usage: EmbeddingUsage
    object: Literal["list"] = "list"


def event(data: Any) -> bytes:
    """One server-sent event."""
    return b"data: " + msgspec.json.encode(data) + b"\n\n"
