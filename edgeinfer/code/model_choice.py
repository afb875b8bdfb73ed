"""Chooses which of a daemon's models does what: one completes code, another answers and edits."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from edgeinfer.errors import ModelNotFound
from edgeinfer.store.catalogue import ModelSpec

DEFAULT_CONTEXT = 4096
"""Tokens, where the server does not say."""


CODER = re.compile(r"coder|codestral|codegemma|stable-code", re.I)
"""Names of models for code that the catalogue may not know, and what people call one in their configuration."""


class OfferedModel(msgspec.Struct, frozen=True):
    """A model of /v1/models.

    Attributes:
        context: tokens that a conversation may hold.
        fills: it was made to complete code in the middle of a file, as far as the catalogue knows.
        loaded: it would answer at once.
    """

    name: str
    context: int
    chats: bool
    fills: bool
    loaded: bool


def offered_models(body: Any, specs: Mapping[str, ModelSpec]) -> list[OfferedModel]:
    """Read the answer of /v1/models; other servers' entries have less to say."""
    entries = body.get("data") if isinstance(body, dict) else None
    return [_offered(entry, specs) for entry in entries or [] if isinstance(entry, dict) and entry.get("id")]


def choose_chat(models: Sequence[OfferedModel], default: str | None) -> OfferedModel:
    """Return the model that answers and edits: the default one, unless it cannot.

    Raises:
        ModelNotFound: there is none.
    """
    able = [model for model in models if model.chats]
    first = [model for model in able if model.name == default]
    best = [model for model in able if not model.name.startswith("edgeinfer-nano")]
    loaded = [model for model in best if model.loaded]
    if found := next(iter([*first, *loaded, *best, *able]), None):
        return found
    raise ModelNotFound("the server has no model that writes text", hint="edgeinfer pull qwen2.5-coder-1.5b")


def choose_filler(models: Sequence[OfferedModel], default: str | None) -> OfferedModel:
    """Return the model that completes code: one that was made for it, else the one that answers."""
    made_for_it = sorted((model for model in models if model.fills), key=lambda model: not model.loaded)
    return made_for_it[0] if made_for_it else choose_chat(models, default)


def named_model(models: Sequence[OfferedModel], name: str) -> OfferedModel:
    """Return the model of that name; one that the server does not list may still be known to it."""
    found = [model for model in models if model.name == name]
    return found[0] if found else OfferedModel(name, DEFAULT_CONTEXT, chats=True, fills=False, loaded=False)


def _offered(entry: Mapping[str, Any], specs: Mapping[str, ModelSpec]) -> OfferedModel:
    name = str(entry["id"])
    meta, status = entry.get("meta"), entry.get("status")
    context = meta.get("n_ctx") if isinstance(meta, dict) else None
    state = status.get("state") if isinstance(status, dict) else None
    capabilities = entry.get("capabilities")
    spec = specs.get(name.partition(":")[0].lower())
    return OfferedModel(
        name,
        context if isinstance(context, int) and context > 0 else DEFAULT_CONTEXT,
        chats="completion" in capabilities if isinstance(capabilities, list) else True,
        fills="code" in spec.roles if spec else CODER.search(name) is not None,
        loaded=state in ("ready", "reloading"),
    )
