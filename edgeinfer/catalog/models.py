"""Which model a name means: an entry of `models.toml`, a GGUF file, or the fake."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from edgeinfer.catalog.gguf import Header, read_header
from edgeinfer.errors import ModelNotFound

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PACKAGE = Path(__file__).parent.parent
BUNDLED = "edgeinfer-nano"
FAKE = "fake"


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


class Model(msgspec.Struct, frozen=True):
    """A model that can be served. `header` is None for the fake."""

    name: str
    path: str
    header: Header | None
    tool_format: str | None = None


def catalogue() -> dict[str, ModelSpec]:
    """Name -> entry of `models.toml`, which lies in the package, or beside it in a checkout."""
    candidates = (PACKAGE / "data" / "models.toml", PACKAGE.parent / "models.toml")
    path = next(p for p in candidates if p.is_file())
    return msgspec.convert(tomllib.loads(path.read_text()), dict[str, ModelSpec])


def find(name: str | None) -> Model:
    """The model that `name` means; None is the bundled one.

    Raises:
        ModelNotFound: nothing here has that name.
        ModelLoadFailed: the file is no GGUF file.
    """
    name = name or BUNDLED
    known = catalogue()
    if name in known:
        spec = known[name]
        path = PACKAGE / spec.file
        return Model(name, str(path), read_header(path), spec.tool_format)
    if name.split(":")[0] == FAKE:
        return Model(FAKE, name, None)
    path = Path(name)
    if path.is_file():
        return Model(path.stem, str(path.resolve()), read_header(path))
    raise ModelNotFound(
        f"no model {name!r}",
        param="model",
        hint=f"give the path of a GGUF file, or one of: {', '.join(known)}",
    )
