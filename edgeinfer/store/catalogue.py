"""The catalogue: what `models.toml` says of each model that edgeinfer knows by name.

The packaged file comes first; `/etc/edgeinfer/models.toml` and `$XDG_CONFIG_HOME/edgeinfer/models.toml` add to
it, and replace entries of the same name.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from edgeinfer.errors import ModelNotFound
from edgeinfer.store.names import file_problem, name_problem, repo_problem, revision_problem
from edgeinfer.store.toml_document import TomlDocument, nearest_hint

PACKAGE_DIR = Path(__file__).parent.parent
SYSTEM_CATALOGUE = Path("/etc/edgeinfer/models.toml")

Role = Literal["chat", "code", "embed"]
Count = Annotated[int, Meta(ge=1, le=1 << 40)]


class Shape(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the memory arithmetic needs of a model.

    Attributes:
        arch: architecture, as GGUF calls it.
        kv_heads: of each layer; a list where layers differ, 0 for one without attention.
        feed_forward: width of the feed-forward network's hidden layer.
        vocabulary: tokens.
        tied: the output matrix is the token embedding.
        window: tokens that a layer with a sliding window sees.
    """

    arch: str
    layers: Annotated[int, Meta(ge=1, le=512)]
    embedding: Count
    heads: Count
    kv_heads: Count | list[Annotated[int, Meta(ge=0, le=1 << 20)]]
    head_size: Count
    feed_forward: Count
    vocabulary: Count
    tied: bool
    window: Count | None = None


class QuantFile(msgspec.Struct, frozen=True):
    """A published file.

    Attributes:
        file: its path in the repository, or a glob pattern.
        size: bytes; None where that is not known.
        pure: all its matrices have the one type, where the quantizer gives some more bits by default.
    """

    quant: str
    repo: str
    file: str
    size: int | None = None
    revision: str = "main"
    sha256: str | None = None
    pure: bool = False


class ModelSpec(msgspec.Struct, frozen=True):
    """An entry of the catalogue.

    Attributes:
        context: tokens it was trained for.
        tool_format: how it writes tool calls, where its template does not show it.
        parameters: their number.
        smaller: name of the model to take where this one does not fit.
        file: path within the package, of the bundled model alone.
    """

    description: str
    licence: str
    context: int
    roles: list[Role]
    aliases: list[str] = []
    tool_format: str | None = None
    parameters: int | None = None
    smaller: str | None = None
    shape: Shape | None = None
    files: list[QuantFile] = []
    file: str | None = None

    def quant(self, name: str) -> QuantFile | None:
        """The file of a quantization, None where none is published."""
        return next((file for file in self.files if file.quant == name.upper()), None)


class _CatalogueEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """As it stands in the file."""

    description: Annotated[str, Meta(min_length=1, max_length=500)]
    licence: str
    context: Count
    roles: Annotated[list[Role], Meta(min_length=1)]
    aliases: list[str] = []
    tool_format: str | None = None
    parameters: Count | None = None
    smaller: str | None = None
    shape: dict[str, Any] | None = None
    repo: str | None = None
    revision: str = "main"
    files: dict[str, Any] = {}
    file: str | None = None


class _CatalogueFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    file: str
    size: Count | None = None
    sha256: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")] | None = None
    repo: str | None = None
    revision: str | None = None
    pure: bool = False


def catalogue(environ: Mapping[str, str] = os.environ) -> dict[str, ModelSpec]:
    """Name -> entry.

    Raises:
        SettingsError: a broken file; it names the line and the key.
    """
    candidates = (PACKAGE_DIR / "data" / "models.toml", PACKAGE_DIR.parent / "models.toml")
    own = next(p for p in candidates if p.is_file())
    home = Path(environ.get("XDG_CONFIG_HOME") or Path(environ.get("HOME", "/root")) / ".config")
    known = read_catalogue(own, {}, bundled=True)
    for path in (SYSTEM_CATALOGUE, home / "edgeinfer" / "models.toml"):
        if path.is_file():
            known |= read_catalogue(path, known)
    return known


def resolve_spec(name: str, environ: Mapping[str, str] = os.environ) -> tuple[str, ModelSpec]:
    """The entry of that name or alias, in any case, with its name.

    Raises:
        ModelNotFound: there is none; its hint is the nearest name.
    """
    known = catalogue(environ)
    names = {alias.lower(): model for model, spec in known.items() for alias in spec.aliases}
    names |= {model.lower(): model for model in known}
    found = names.get(name.lower())
    if found is None:
        raise ModelNotFound(
            f"no model {name!r} is known", param="model", hint=nearest_hint(name, known, names)
        )
    return found, known[found]


def read_catalogue(
    path: Path, others: Mapping[str, ModelSpec], *, bundled: bool = False
) -> dict[str, ModelSpec]:
    """The entries of one file, which may name `others`; the packaged one has the bundled model.

    Raises:
        SettingsError: as `catalogue`.
    """
    document = TomlDocument(path)
    found = {name: _spec(document, name, table, bundled) for name, table in document.tables.items()}
    names: dict[str, str] = {}
    for name, spec in found.items():
        for one in (name, *spec.aliases):
            if problem := name_problem(one):
                raise document.error((name,), f"{one!r} is no name", f"a name is {problem}")
            if (other := names.setdefault(one.lower(), name)) != name:
                raise document.error((name,), f"{one!r} names {other!r} too")
    known = {**others, **found}
    for name in found:
        _check_smaller(document, name, known)
    return found


def _spec(document: TomlDocument, name: str, table: object, bundled: bool) -> ModelSpec:
    entry = document.struct(_CatalogueEntry, table, (name,))
    if (entry.file is None) == (not entry.files):
        raise document.error((name,), "files missing")
    if entry.file is not None and not bundled:
        hint = "for a file that is here already: edgeinfer models import FILE"
        raise document.error((name, "file"), "only the bundled model has one", hint)
    files = [_file(document, (name, "files", quant), of, entry) for quant, of in entry.files.items()]
    shape = None if entry.shape is None else document.struct(Shape, entry.shape, (name, "shape"))
    if shape and isinstance(shape.kv_heads, list) and len(shape.kv_heads) != shape.layers:
        raise document.error((name, "shape"), f"kv_heads has {len(shape.kv_heads)} layers of {shape.layers}")
    return ModelSpec(
        description=entry.description,
        licence=entry.licence,
        context=entry.context,
        roles=entry.roles,
        aliases=entry.aliases,
        tool_format=entry.tool_format,
        parameters=entry.parameters,
        smaller=entry.smaller,
        shape=shape,
        files=files,
        file=entry.file,
    )


def _file(document: TomlDocument, keys: tuple[str, ...], table: object, entry: _CatalogueEntry) -> QuantFile:
    found = document.struct(_CatalogueFile, table, keys)
    repo, revision = found.repo or entry.repo, found.revision or entry.revision
    if repo is None:
        raise document.error(keys, "repo missing", "give the model a repo, or each of its files")
    gguf = None if found.file.lower().endswith(".gguf") else "the file is a .gguf"
    problems = {
        "file": file_problem(found.file, pattern=True) or gguf,
        "repo": repo_problem(repo),
        "revision": revision_problem(revision),
    }
    for key, problem in problems.items():
        if problem:
            raise document.error((*keys, key), "not allowed", problem)
    quant = keys[-1].upper()
    if name_problem(quant):
        raise document.error(keys, f"{keys[-1]!r} is no quantization", "such as Q4_K_M")
    return QuantFile(quant, repo, found.file, found.size, revision, found.sha256, found.pure)


def _check_smaller(document: TomlDocument, name: str, known: Mapping[str, ModelSpec]) -> None:
    """What is smaller is known, and does not lead back to the model."""
    way = [name]
    while (smaller := known[way[-1]].smaller) is not None:
        if smaller not in known:
            raise document.error((name, "smaller"), f"no model {smaller!r}", nearest_hint(smaller, known))
        if smaller in way:
            raise document.error((name, "smaller"), f"goes round: {' -> '.join((*way, smaller))}")
        way.append(smaller)
