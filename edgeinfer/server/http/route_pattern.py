"""The pattern of a request's path."""

from __future__ import annotations

from starlette.types import Scope


def route_of(scope: Scope) -> str:
    """The pattern of a request's path, for metrics: they must have few labels."""
    return getattr(scope.get("route"), "path", "none")
