"""The models that a server offers: the answer of /v1/models, as far as a conversation needs it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import httpx
import msgspec

from edgeinfer.client.http import Target, get_json
from edgeinfer.errors import EdgeinferError


class ListedModel(msgspec.Struct, frozen=True):
    """A model of /v1/models.

    Attributes:
        aliases: its other names.
        context: tokens that a conversation may hold; None if the server does not say.
    """

    name: str
    aliases: tuple[str, ...] = ()
    context: int | None = None


def listed_models(client: httpx.Client, target: Target) -> list[ListedModel]:
    """Ask a server for its models; none if it has no such list."""
    try:
        body = get_json(client, target, "/v1/models")
    except EdgeinferError:
        return []
    entries = body.get("data") if isinstance(body, dict) else None
    return [_listed(entry) for entry in entries or () if isinstance(entry, dict) and entry.get("id")]


def find_model(models: Sequence[ListedModel], name: str | None) -> ListedModel | None:
    """Return the model of that name or alias, without a name the only one; None if there is none."""
    if name is None:
        return models[0] if len(models) == 1 else None
    return next((model for model in models if name in (model.name, *model.aliases)), None)


def _listed(entry: dict[str, Any]) -> ListedModel:
    meta, aliases = entry.get("meta"), entry.get("aliases")
    context = meta.get("n_ctx") if isinstance(meta, dict) else None
    return ListedModel(
        str(entry["id"]),
        tuple(map(str, aliases)) if isinstance(aliases, list) else (),
        context if isinstance(context, int) and context > 0 else None,
    )
