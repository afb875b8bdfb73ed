"""Headers of requests and responses."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.types import Scope

IGNORED = "x-edgeinfer-ignored"
"""Names the fields of the request that were ignored. The scope has its value under the same name."""

MAX_NAMED = 16
"""Names that are added to those of unknown fields."""


def name_ignored(scope: Scope, names: Sequence[str]) -> None:
    """Name what is ignored of a request beside its unknown fields; `names` must be safe for a header."""
    named = [text for text in (scope.get(IGNORED), *names[:MAX_NAMED]) if text]
    if named:
        scope[IGNORED] = ", ".join(named)


def header_values(scope: Scope, name: bytes) -> list[bytes]:
    """All values of the header `name` (in lower case), in order."""
    return [value for key, value in scope["headers"] if key == name]
