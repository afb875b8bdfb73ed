"""Selects a model that completes code, to be installed beside the one that answers."""

from __future__ import annotations

from collections.abc import Sequence

from edgeinfer.errors import DoesNotFit
from edgeinfer.hub.reference import ModelReference
from edgeinfer.install.selection import Selection, Selector
from edgeinfer.store.catalogue import catalogue


def select_coder(selector: Selector) -> Selection:
    """Return the first of the catalogue's models for code that fits.

    Raises:
        DoesNotFit: none does; the message is about the last, which is the smallest.
    """
    return _first_that_fits(selector, [name for name in catalogue() if completes_code(name)])


def completes_code(name: str) -> bool:
    """Tell whether a model was made to complete code, as far as the catalogue knows."""
    spec = catalogue().get(name)
    return spec is not None and "code" in spec.roles


def _first_that_fits(selector: Selector, names: Sequence[str]) -> Selection:
    first, *others = names
    try:
        return selector.select(ModelReference(name=first))
    except DoesNotFit:
        if not others:
            raise
    return _first_that_fits(selector, others)
