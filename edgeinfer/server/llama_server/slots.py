"""GET /slots: how many answers are running. Prompts and answers of other callers are nobody's business."""

from __future__ import annotations

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from edgeinfer.errors import NotImplementedHere, NotReady
from edgeinfer.server.http.json_response import json_response
from edgeinfer.server.state import registry_of


class SlotState(Struct):
    """One answer that can be computed at once with the others."""

    id: int
    n_ctx: int
    is_processing: bool
    speculative: bool = False


async def slots(request: Request, model: str | None = None, fail_on_no_slot: str = "") -> Response:
    """The slots of a loaded model; none while it is not loaded."""
    served = registry_of(request).get(model)
    info = served.info
    if info is None:
        return json_response([])
    running = min(served.stats.running, info.parallel)
    if fail_on_no_slot and running == info.parallel:
        raise NotReady("no slot available")
    return json_response(
        [SlotState(id, info.ctx, id < running, bool(info.draft_model)) for id in range(info.parallel)]
    )


async def slot_action(_request: Request, id: str) -> Response:
    """Refused: cached prompts are found in any slot, and belong to nobody's request."""
    raise NotImplementedHere(
        f"slot {id[:32]!r} cannot be saved, restored or erased by a request",
        hint="prompts are cached by themselves; the setting prefix_cache_mb keeps them across restarts",
    )
