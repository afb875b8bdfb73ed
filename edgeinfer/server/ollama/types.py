"""Ollama's responses as structs, which msgspec encodes in a microsecond. Durations are in nanoseconds."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import UNSET, Struct, UnsetType, field

DoneReason = Literal["stop", "length", "load", "unload"]


class OllamaFunction(Struct):
    """`arguments` is an object."""

    index: int
    name: str
    arguments: Any


class OllamaToolCall(Struct):
    id: str
    function: OllamaFunction


class OllamaMessage(Struct):
    """An answer, or what a chunk adds to it. A call is always whole."""

    role: Literal["assistant"] = "assistant"
    content: str = ""
    thinking: str | UnsetType = UNSET
    tool_calls: list[OllamaToolCall] | UnsetType = UNSET


class CandidateLogprob(Struct):
    token: str
    logprob: float
    bytes: list[int]


class OllamaLogprob(CandidateLogprob):
    top_logprobs: list[CandidateLogprob] | UnsetType = UNSET


class GenerationMetrics(Struct, kw_only=True):
    """Comes with the end of an answer."""

    done_reason: DoneReason | UnsetType = UNSET
    total_duration: int | UnsetType = UNSET
    load_duration: int | UnsetType = UNSET
    prompt_eval_count: int | UnsetType = UNSET
    prompt_eval_duration: int | UnsetType = UNSET
    eval_count: int | UnsetType = UNSET
    eval_duration: int | UnsetType = UNSET
    logprobs: list[OllamaLogprob] | UnsetType = UNSET


class OllamaChatResponse(GenerationMetrics):
    """A whole answer to a conversation, or a chunk of one."""

    model: str
    created_at: str
    message: OllamaMessage
    done: bool


class OllamaGenerateResponse(GenerationMetrics):
    """A whole answer to a prompt, or a chunk of one."""

    model: str
    created_at: str
    response: str
    done: bool
    thinking: str | UnsetType = UNSET


class OllamaEmbedResponse(Struct):
    model: str
    embeddings: list[Any]
    total_duration: int | UnsetType = UNSET
    load_duration: int | UnsetType = UNSET
    prompt_eval_count: int | UnsetType = UNSET


class OllamaEmbeddingResponse(Struct):
    embedding: Any


class OllamaDetails(Struct):
    family: str
    families: list[str]
    parameter_size: str
    quantization_level: str
    context_length: int
    embedding_length: int
    format: Literal["gguf"] = "gguf"
    parent_model: str = ""


class OllamaModel(Struct):
    """A model that can be asked for. `size` is its file's."""

    name: str
    model: str
    modified_at: str
    size: int
    digest: str
    details: OllamaDetails
    capabilities: list[str]


class OllamaTags(Struct):
    models: list[OllamaModel]


class RunningModel(Struct):
    """A loaded model. `size` is the memory that it takes, `context_length` what one conversation may hold."""

    name: str
    model: str
    size: int
    digest: str
    details: OllamaDetails
    expires_at: str
    size_vram: int
    context_length: int


class RunningModels(Struct):
    models: list[RunningModel]


class ShownModel(Struct):
    modelfile: str
    parameters: str
    template: str
    details: OllamaDetails
    model_info: dict[str, Any]
    capabilities: list[str]
    modified_at: str
    license: str | UnsetType = UNSET


class OllamaVersion(Struct):
    """`version` is Ollama's whose API this is; `edgeinfer` is ours."""

    version: str
    edgeinfer: str


class CloudStatus(Struct):
    disabled: bool
    source: str


class OllamaStatus(Struct):
    cloud: CloudStatus = field(default_factory=lambda: CloudStatus(True, "config"))


class PullStep(Struct):
    """A line about a download."""

    status: str
    digest: str | UnsetType = UNSET
    total: int | UnsetType = UNSET
    completed: int | UnsetType = UNSET
