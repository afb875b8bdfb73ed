"""Headers of a request, before there is a Request."""

from __future__ import annotations

from starlette.types import Scope


def header_values(scope: Scope, name: bytes) -> list[bytes]:
    """All values that a request has under `name` (in lower case), in their order."""
    return [value for key, value in scope["headers"] if key == name]
