"""Which model a name means: an entry of `models.toml`, a GGUF file, or the fake."""

from __future__ import annotations

from pathlib import Path

import msgspec

from edgeinfer.catalog.gguf import Header, read_header
from edgeinfer.catalog.spec import PACKAGE, catalogue
from edgeinfer.errors import ModelNotFound

BUNDLED = "edgeinfer-nano"
FAKE = "fake"


class Model(msgspec.Struct, frozen=True):
    """A model that can be served. `header` is None for the fake."""

    name: str
    path: str
    header: Header | None
    tool_format: str | None = None


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
