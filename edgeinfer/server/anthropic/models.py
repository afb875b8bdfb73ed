"""The models in Anthropic's form, for requests to /v1/models that have the header anthropic-version."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone

from starlette.requests import Request
from starlette.responses import Response

from edgeinfer.errors import InvalidRequest
from edgeinfer.server.anthropic.types import ModelEntry, ModelPage
from edgeinfer.server.http.json_response import json_response
from edgeinfer.server.http.quoting import quoted
from edgeinfer.server.state import registry_of, state_of
from edgeinfer.serving.model import ServedModel

DEFAULT_LIMIT, MAX_LIMIT = 20, 1000


def list_models(request: Request, models: Sequence[ServedModel]) -> Response:
    """A page of the models. Aliases have entries too: Claude Code's menu shows only names that begin with claude."""
    aliases = state_of(request).settings.aliases()
    entries = [_entry(model.name, model) for model in models]
    entries += [_entry(alias, registry_of(request).get(alias)) for alias in aliases]
    return json_response(_page(request, entries))


def show_model(_request: Request, model: ServedModel) -> Response:
    return json_response(_entry(model.name, model))


def _entry(id: str, model: ServedModel) -> ModelEntry:
    created = datetime.fromtimestamp(model.created, timezone.utc)
    ctx = model.info.ctx if model.info else None
    return ModelEntry(id, id, created.isoformat().replace("+00:00", "Z"), ctx, ctx)


def _page(request: Request, entries: list[ModelEntry]) -> ModelPage:
    """The entries after `after_id`, else the last ones before `before_id`, else the first ones."""
    limit = _limit(request)
    after, before = request.query_params.get("after_id"), request.query_params.get("before_id")
    if after is not None and before is not None:
        raise InvalidRequest("after_id and before_id cannot be combined", param="before_id")
    if before is not None:
        rest = entries[: _place(entries, before, "before_id")]
        page = rest[-limit:]
    else:
        rest = entries if after is None else entries[_place(entries, after, "after_id") + 1 :]
        page = rest[:limit]
    first, last = (page[0].id, page[-1].id) if page else (None, None)
    return ModelPage(page, len(page) < len(rest), first, last)


def _limit(request: Request) -> int:
    text = request.query_params.get("limit", str(DEFAULT_LIMIT))
    limit = int(text) if text.isascii() and text.isdigit() and len(text) <= len(str(MAX_LIMIT)) else 0
    if not 1 <= limit <= MAX_LIMIT:
        raise InvalidRequest(f"limit must be a number from 1 to {MAX_LIMIT}", param="limit")
    return limit


def _place(entries: Sequence[ModelEntry], id: str, param: str) -> int:
    for n, entry in enumerate(entries):
        if entry.id == id:
            return n
    raise InvalidRequest(f"there is no model {quoted(id)} in the list", param=param)
