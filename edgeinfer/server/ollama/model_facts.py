"""What Ollama's clients want to know of a model, loaded or not."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from edgeinfer.chat.reasoning import detect_reasoning
from edgeinfer.server.model_files import smallest_context
from edgeinfer.server.ollama.times import from_timestamp
from edgeinfer.server.ollama.types import OllamaDetails
from edgeinfer.server.state import AppState
from edgeinfer.serving.model import ServedModel
from edgeinfer.store.file_facts import FileFacts
from edgeinfer.store.store import Store

UNITS = ((1e9, "B", 1), (1e6, "M", 2), (1e3, "K", 0))


class StoredFile(msgspec.Struct, frozen=True):
    """The file of a model, as far as the file system and the store know it.

    Attributes:
        digest: the sha256 of its content, or of what tells it from other files where nobody has read it all.
    """

    size: int
    digest: str
    modified_at: str


async def stored_files(state: AppState, models: Sequence[ServedModel]) -> Mapping[ServedModel, StoredFile]:
    """The files of these models. A model without one that can be read has none."""
    return await asyncio.to_thread(_stored_files, state, models)


def _stored_files(state: AppState, models: Sequence[ServedModel]) -> Mapping[ServedModel, StoredFile]:
    hashes = {str(stored.path): stored.sha256 for stored in Store.of(state.settings).recorded()}
    found = {}
    for model in models:
        try:
            path = state.registry.file(model)
            if path is None:
                continue
            status = Path(path).stat()
        except (OSError, ValueError):
            continue
        identity = f"{path} {status.st_size} {status.st_mtime_ns}"
        digest = hashes.get(path) or hashlib.sha256(identity.encode(errors="surrogateescape")).hexdigest()
        found[model] = StoredFile(status.st_size, digest, from_timestamp(status.st_mtime))
    return found


def details(model: ServedModel, facts: FileFacts | None) -> OllamaDetails:
    """What kind of model it is. What is not known is empty or 0."""
    info = model.info
    architecture = facts.architecture if facts else info.architecture if info else ""
    parameters = parameter_count(model, facts)
    return OllamaDetails(
        architecture,
        [architecture] if architecture else [],
        parameter_size(parameters) if parameters else "",
        (facts.file_type if facts else None) or "unknown",
        facts.n_ctx_train if facts else info.n_ctx_train if info else 0,
        facts.n_embd if facts else info.n_embd if info else 0,
    )


def capabilities(model: ServedModel, facts: FileFacts | None) -> list[str]:
    """What it can do, in Ollama's words. Tools work with every model that answers conversations."""
    info = model.info
    if (info and info.reranks) or (facts and facts.is_reranker):
        return ["rerank"]  # no word of Ollama's: nobody is to chat with it, or embed
    if (info and not info.generates) or (facts and facts.is_embedding):
        return ["embedding"]
    template = facts.template if facts else info.chat_templates.get("default", "") if info else ""
    found = ["completion"]
    if template:
        found.append("tools")
    if has_infill(model, facts):
        found.append("insert")
    if template and detect_reasoning(template, "").state != "none":
        found.append("thinking")
    return found


def has_infill(model: ServedModel, facts: FileFacts | None) -> bool:
    """Whether it can fill gaps: a loaded model knows, the file of another may tell."""
    if model.info:
        return model.info.fim is not None
    return bool(facts and facts.has_infill)


def context_length(model: ServedModel, facts: FileFacts | None) -> int:
    """Tokens that one conversation may hold, or is sure to be able to once the model is loaded."""
    if model.info:
        return model.info.ctx
    return model.last_ctx or (smallest_context(model, facts) if facts else 0)


def parameter_count(model: ServedModel, facts: FileFacts | None) -> int:
    return facts.n_params if facts else model.info.n_params if model.info else 0


def parameter_size(count: int) -> str:
    """A number of parameters in the form of Ollama: "751.63M", "8B"."""
    for factor, unit, digits in UNITS:
        if count >= factor:
            number = count / factor
            return f"{number:.0f}{unit}" if number == int(number) else f"{number:.{digits}f}{unit}"
    return str(count)
