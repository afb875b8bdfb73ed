"""Applies what a request says about how long its model stays loaded."""

from __future__ import annotations

from starlette.requests import Request

from edgeinfer.server import audit
from edgeinfer.server.auth.principal import principal_of
from edgeinfer.server.auth.rights import check_admin, may_administer
from edgeinfer.server.state import state_of
from edgeinfer.serving.model import ServedModel


def keep(request: Request, model: ServedModel, seconds: float | None) -> None:
    """Let a loaded model stay so long after its last request; None leaves its time as it is.

    Clients send this with every request, whoever uses them. So where there are keys, that of a caller without an
    admin key has no effect: it is no reason to refuse an answer, and nobody else's model is unloaded, or kept, by it.
    """
    if seconds is not None and may_administer(principal_of(request.scope)):
        state_of(request).loader.keep(model, seconds)


async def unload(request: Request, model: ServedModel) -> None:
    """Unload a model once its running answers have finished.

    Raises:
        Forbidden: keys are required, and this one is not an admin key.
    """
    principal, state = principal_of(request.scope), state_of(request)
    check_admin(principal, "unload models")
    if model.client or model.loading:
        await state.loader.unload(model, state.settings.drain_timeout)
        audit.record("unloaded", model=model.name, by=principal.label)
