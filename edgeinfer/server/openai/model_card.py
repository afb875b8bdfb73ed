"""Describes models as OpenAI and llama-server list them."""

from __future__ import annotations

from typing import Literal

from msgspec import UNSET, Struct, UnsetType, field

from edgeinfer.server.model_files import smallest_context
from edgeinfer.serving.model import ModelState, ServedModel
from edgeinfer.serving.sampling import recommended_sampling
from edgeinfer.serving.task import Task, tasks
from edgeinfer.store.file_facts import FileFacts

LlamaState = Literal["unloaded", "loading", "loaded", "downloading"]

LLAMA_STATES: dict[ModelState, LlamaState] = {
    "unloaded": "unloaded",
    "loading": "loading",
    "ready": "loaded",
    "restarting": "loading",
    "reloading": "loaded",
    "failed": "unloaded",
    "stopped": "unloaded",
}
"""Our states in llama-server's words. A model that is being reloaded answers."""


Capability = Literal["completion", "embedding", "rerank"]

CAPABILITIES: dict[Task, Capability] = {"generate": "completion", "embed": "embedding", "rerank": "rerank"}
"""Ollama's words, as far as it has any."""


class ModelMeta(Struct):
    """llama-server's figures, and more while the model is loaded.

    Attributes:
        n_ctx: the context while it is loaded; otherwise what it had, or what it is sure to have.
        sampling: the values for requests that give none.
        template_limits: what the chat template cannot do, in words.
    """

    n_vocab: int
    n_ctx: int
    n_ctx_train: int
    n_embd: int
    n_params: int
    size: int
    vocab_type: int | None = None
    ftype: str | None = None
    sampling: dict[str, float] | UnsetType = UNSET
    template_limits: list[str] | UnsetType | None = UNSET


class ModelArchitecture(Struct):
    input_modalities: list[str] = field(default_factory=lambda: ["text"])
    output_modalities: list[str] = field(default_factory=lambda: ["text"])


class FileProgress(Struct):
    """Bytes of a file."""

    done: int
    total: int


class ModelStatus(Struct):
    """llama-server's field.

    Attributes:
        value: the state in llama-server's words.
        state: the state in ours: "unloaded", "loading", "ready", "restarting", "reloading", "failed" or "stopped".
        args: what it was loaded with, as llama-server's options.
        failed: the last attempt to load it failed.
        loaded: the share of it that has been read, while it is being loaded and that is known.
        progress: how much of the files is there of a model that is being downloaded; its `state` is "downloading" too.
    """

    value: LlamaState
    state: ModelState | Literal["downloading"]
    args: list[str]
    failed: bool | UnsetType = UNSET
    exit_code: int | UnsetType = UNSET
    loaded: float | UnsetType = UNSET
    progress: dict[str, FileProgress] | UnsetType = UNSET


class ModelCard(Struct):
    """`meta` and `capabilities`, what the model was made for, are there unless its file cannot be read."""

    id: str
    created: int
    status: ModelStatus
    aliases: list[str]
    tags: list[str] = field(default_factory=list)
    object: Literal["model"] = "model"
    owned_by: str = "llamacpp"  # by which clients recognise the fields that OpenAI does not have
    architecture: ModelArchitecture = field(default_factory=ModelArchitecture)
    meta: ModelMeta | UnsetType = UNSET
    capabilities: list[Capability] | UnsetType = UNSET


class ModelList(Struct):
    data: list[ModelCard]
    object: Literal["list"] = "list"


def model_card(model: ServedModel, facts: FileFacts | None, aliases: list[str]) -> ModelCard:
    """The entry of one model."""
    card = ModelCard(model.name, model.created, model_status(model), aliases)
    if model.info or facts:
        card.meta = _meta(model, facts)
        card.capabilities = [_capability(model, facts)]
    return card


def model_status(model: ServedModel) -> ModelStatus:
    """The state of one model."""
    state = model.state
    status = ModelStatus(LLAMA_STATES[state], state, _args(model))
    if state == "failed":
        status.failed, status.exit_code = True, 1
    if model.health and (loaded := model.health.load_progress) is not None:
        status.loaded = loaded
    return status


def _capability(model: ServedModel, facts: FileFacts | None) -> Capability:
    if model.info:
        return CAPABILITIES[tasks(model.info)[0]]
    if facts and facts.is_reranker:
        return "rerank"
    return "embedding" if facts and facts.is_embedding else "completion"


def _args(model: ServedModel) -> list[str]:
    info = model.info
    return ["--ctx-size", str(info.ctx), "--parallel", str(info.parallel)] if info else []


def _meta(model: ServedModel, facts: FileFacts | None) -> ModelMeta:
    if info := model.info:
        return ModelMeta(
            info.vocab_size,
            info.ctx,
            info.n_ctx_train,
            info.n_embd,
            info.n_params,
            info.size,
            facts.vocab_type if facts else None,
            facts.file_type if facts else None,
            recommended_sampling(info, model.recommended_sampling(thinks=True)),
            model.template_limits,
        )
    assert facts
    return ModelMeta(
        facts.vocab_size,
        model.last_ctx or smallest_context(model, facts),
        facts.n_ctx_train,
        facts.n_embd,
        facts.n_params,
        facts.size,
        facts.vocab_type,
        facts.file_type,
    )
