"""The catalogue: what `models.toml` says of each model that edgeinfer knows by name."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PACKAGE = Path(__file__).parent.parent


class ModelSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An entry of the catalogue. `file` is relative to the package.

    `tool_format` names the form of its tool calls, where its template does not show it.
    """

    description: str
    file: str
    licence: str
    context: int
    roles: list[str]
    tool_format: str | None = None


def catalogue() -> dict[str, ModelSpec]:
    """Name -> entry of `models.toml`, which lies in the package, or beside it in a checkout."""
    candidates = (PACKAGE / "data" / "models.toml", PACKAGE.parent / "models.toml")
    path = next(p for p in candidates if p.is_file())
    return msgspec.convert(tomllib.loads(path.read_text()), dict[str, ModelSpec])
