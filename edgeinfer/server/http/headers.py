"""Headers of requests and responses."""

from __future__ import annotations

from starlette.types import Scope

IGNORED = "x-edgeinfer-ignored"
"""Names the fields of the request that were ignored. The scope has its value under the same name."""


def header_values(scope: Scope, name: bytes) -> list[bytes]:
    """All values of the header `name` (in lower case), in order."""
    return [value for key, value in scope["headers"] if key == name]
