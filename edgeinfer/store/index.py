"""Looks up installed models quickly: a server does so at every request, on its event loop."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

from edgeinfer.errors import SettingsError
from edgeinfer.store.catalogue import catalogue
from edgeinfer.store.store import Store
from edgeinfer.store.stored_model import StoredModel, model_problem

SETTLED_NS = 1_000_000_000
"""Age at which the time of a change tells it from the next one. Clocks of file systems are coarse."""

logger = logging.getLogger(__name__)


class StoreIndex:
    """Finds installed models by the names that `lookup.installed_model` knows.

    It reads the records again only when one has been added or removed, and the catalogue only once. Whether a
    model's file is still there is looked up each time.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._recorded: Sequence[StoredModel] = ()
        self._version: int | None = None
        self._aliases = _aliases()

    def installed(self) -> list[StoredModel]:
        """List the models that can be served, newest last."""
        return [stored for stored in self._records() if model_problem(stored) is None]

    def find(self, name: str, quant: str | None = None) -> StoredModel | None:
        """Return the newest servable model with that name or alias, in any case; None if there is none."""
        return self._newest(name, quant) or self._newest(self._aliases.get(name.lower(), name), quant)

    def _newest(self, name: str, quant: str | None) -> StoredModel | None:
        wanted = (name.lower(), quant and quant.lower())
        named = [
            stored
            for stored in reversed(self._records())
            if wanted in ((stored.name.lower(), None), (stored.name.lower(), stored.quant.lower()))
        ]
        named.sort(key=lambda stored: bool(stored.parts))  # as Store.find prefers them
        return next((stored for stored in named if model_problem(stored) is None), None)

    def _records(self) -> Sequence[StoredModel]:
        version = self._store.version()
        if version is None or version != self._version:
            self._recorded = self._store.recorded()
            is_settled = version is not None and time.time_ns() - version > SETTLED_NS
            self._version = version if is_settled else None
        return self._recorded


def _aliases() -> dict[str, str]:
    """The catalogue's names by their aliases in lower case; none if it is broken."""
    try:
        specs = catalogue()
    except SettingsError as e:
        logger.warning("aliases of models are unknown: %s", e.message)
        return {}
    names = {alias.lower(): name for name, spec in specs.items() for alias in spec.aliases}
    return names | {name.lower(): name for name in specs}
