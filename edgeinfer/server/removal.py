"""Deletes a model while the service runs."""

from __future__ import annotations

import asyncio

from edgeinfer.errors import InvalidRequest
from edgeinfer.server.state import AppState
from edgeinfer.store.lookup import recorded_models
from edgeinfer.store.store import Store
from edgeinfer.store.stored_model import StoredModel


async def remove_model(state: AppState, name: str) -> str:
    """Delete an installed model; -> its full name. One that is loaded finishes its answers and is unloaded first.

    Raises:
        InvalidRequest: it is the default model, or its file is not the daemon's to delete.
        StoreError: the daemon may not write there.
    """
    model = state.registry.get(name)
    store = Store.of(state.settings)
    stored = await asyncio.to_thread(_stored, store, model.settings.model or model.name)
    if model is state.registry.default:
        raise InvalidRequest(
            f"{model.name} is the default model and cannot be deleted",
            param="model",
            hint="make another one the default first: model = … in the configuration file",
        )
    if stored is None:
        raise InvalidRequest(f"{model.name} is not in the store, so it cannot be deleted here", param="model")
    state.puller.check()
    await state.loader.retire(model, state.settings.drain_timeout)
    await asyncio.to_thread(store.remove, stored)
    return f"{stored.name}:{stored.quant}"


def _stored(store: Store, name: str) -> StoredModel | None:
    """The newest installed model that `name` means."""
    return next(reversed(recorded_models(name, store)), None)
