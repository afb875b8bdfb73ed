"""Reads headers from a scope."""

from __future__ import annotations

from starlette.types import Scope


def header_values(scope: Scope, name: bytes) -> list[bytes]:
    """All values of the header `name` (in lower case), in order."""
    return [value for key, value in scope["headers"] if key == name]
