"""Reads the catalogue of the models that edgeinfer knows by name: `models.toml`.

The packaged file comes first. `/etc/edgeinfer/models.toml` and `$XDG_CONFIG_HOME/edgeinfer/models.toml` add
entries to it, and replace those of the same name.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from edgeinfer.errors import ModelNotFound
from edgeinfer.store.names import file_problem, name_problem, repo_problem, revision_problem
from edgeinfer.store.sampling_defaults import RecommendedSampling, SamplingDefaults
from edgeinfer.store.toml_document import TomlDocument, nearest_hint
from edgeinfer.user_folders import config_folder, is_file

PACKAGE_DIR = Path(__file__).parent.parent
SYSTEM_CATALOGUE = Path("/etc/edgeinfer/models.toml")

MAX_NAMES = 8
"""Names that a hint lists."""

Role = Literal["chat", "code", "embed", "rerank"]
Count = Annotated[int, Meta(ge=1, le=1 << 40)]


class Shape(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Gives the dimensions of a model, from which its memory can be computed.

    Attributes:
        arch: architecture, as GGUF names it.
        kv_heads: per layer; a list if layers differ, with 0 for layers without attention.
        feed_forward: width of the feed-forward network's hidden layer.
        vocabulary: number of tokens.
        tied: the output matrix is the token embedding.
        window: tokens seen by a layer with a sliding window.
        experts: number of experts of a mixture, each of them `feed_forward` wide.
        experts_used: number of experts that a token passes through.
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
    experts: Annotated[int, Meta(ge=1, le=4096)] | None = None
    experts_used: Annotated[int, Meta(ge=1, le=4096)] | None = None


class QuantFile(msgspec.Struct, frozen=True):
    """A published file of a model.

    Attributes:
        file: path in the repository, or a glob pattern.
        size: in bytes; None if unknown.
        pure: all matrices have the same type; by default the quantizer gives some of them more bits.
    """

    quant: str
    repo: str
    file: str
    size: int | None = None
    revision: str = "main"
    sha256: str | None = None
    pure: bool = False


class SafetensorsSource(msgspec.Struct, frozen=True):
    """The repository that has a model in safetensors, for vLLM.

    Attributes:
        dtype: type of its weights, and the name of the quantization under which it is installed.
        size: bytes of its files; None if unknown.
    """

    repo: str
    dtype: Literal["BF16", "F16", "F32"] = "BF16"
    revision: str = "main"
    size: int | None = None


class ModelSpec(msgspec.Struct, frozen=True):
    """An entry of the catalogue.

    Attributes:
        context: tokens that the model was trained for.
        tool_format: how it writes tool calls, if its template does not show that.
        defaults: what its makers recommend for sampling.
        parameters: number of parameters.
        smaller: name of the model to use if this one does not fit.
        draft: the model, NAME or NAME:QUANT, that guesses tokens for this one; it has the same vocabulary.
        file: path within the package; only the bundled model has one.
    """

    description: str
    licence: str
    context: int
    roles: list[Role]
    aliases: list[str] = []
    tool_format: str | None = None
    defaults: SamplingDefaults = SamplingDefaults()
    parameters: int | None = None
    smaller: str | None = None
    draft: str | None = None
    shape: Shape | None = None
    files: list[QuantFile] = []
    file: str | None = None
    safetensors: SafetensorsSource | None = None

    def quant(self, name: str) -> QuantFile | None:
        """Return the file of a quantization; None if none is published."""
        return next((file for file in self.files if file.quant == name.upper()), None)


class _CatalogueEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A model's table in the file."""

    description: Annotated[str, Meta(min_length=1, max_length=500)]
    licence: str
    context: Count
    roles: Annotated[list[Role], Meta(min_length=1)]
    aliases: list[str] = []
    tool_format: str | None = None
    sampling: dict[str, Any] = {}
    sampling_without_thinking: dict[str, Any] = {}
    system_prompt: bool = True
    parameters: Count | None = None
    smaller: str | None = None
    draft: str | None = None
    shape: dict[str, Any] | None = None
    repo: str | None = None
    revision: str = "main"
    files: dict[str, Any] = {}
    file: str | None = None
    safetensors: dict[str, Any] | None = None


class _CatalogueSafetensors(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The table of a model's safetensors in the file."""

    repo: str
    dtype: Literal["BF16", "F16", "F32"] = "BF16"
    revision: str = "main"
    size: Count | None = None


class _CatalogueFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A quantization's table in the file."""

    file: str
    size: Count | None = None
    sha256: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")] | None = None
    repo: str | None = None
    revision: str | None = None
    pure: bool = False


def catalogue(environ: Mapping[str, str] = os.environ) -> dict[str, ModelSpec]:
    """Return all entries by name.

    Raises:
        SettingsError: a file is broken; the message has the line and the key.
    """
    candidates = (PACKAGE_DIR / "data" / "models.toml", PACKAGE_DIR.parent / "models.toml")
    packaged = next(p for p in candidates if p.is_file())
    specs = read_catalogue(packaged, {}, bundled=True)
    for path in (SYSTEM_CATALOGUE, config_folder(environ) / "models.toml"):
        if is_file(path):
            specs |= read_catalogue(path, specs)
    return specs


def resolve_spec(name: str, environ: Mapping[str, str] = os.environ) -> tuple[str, ModelSpec]:
    """Find the entry with that name or alias; return its name and the entry.

    Neither case nor punctuation counts: "llama3.2" is "llama-3.2", as Ollama's library writes it.

    Raises:
        ModelNotFound: there is none; the hint has names that begin with it, or the most similar one.
    """
    specs = catalogue(environ)
    names = {alias.lower(): model for model, spec in specs.items() for alias in spec.aliases}
    names |= {model.lower(): model for model in specs}
    model = names.get(name.lower()) or {_letters(alias): names[alias] for alias in names}.get(_letters(name))
    if model is None:
        raise ModelNotFound(f"no such model: {name[:200]!r}", param="model", hint=similar_model(name, names))
    return model, specs[model]


def family(name: str, specs: Mapping[str, ModelSpec]) -> list[str]:
    """Return the chat models whose names begin with `name`, smallest first: those of "qwen3"."""
    members = [
        model
        for model, spec in specs.items()
        if model.lower().startswith(name.lower()) and "chat" in spec.roles and spec.parameters
    ]
    return sorted(members, key=lambda model: specs[model].parameters or 0)


def similar_model(name: str, known: Iterable[str], installed: Sequence[str] = ()) -> str:
    """Make a hint: the models whose names begin with this one, or the one with the most similar name, or what is
    installed and the command that lists all.
    """
    names = {_letters(other): other for other in known}
    longer = [other for letters, other in names.items() if letters.startswith(_letters(name[:200]) or " ")]
    if len(longer) > 1:
        return f"did you mean one of {', '.join(longer[:MAX_NAMES])}?"
    close = difflib.get_close_matches(_letters(name[:200]), names, n=1)
    if close:
        return f"did you mean {names[close[0]]!r}?"
    present = f"installed: {', '.join(installed[:MAX_NAMES])}; " if installed else ""
    return f"{present}for the names: edgeinfer models ls --all"


def _letters(name: str) -> str:
    """The point of a size counts: qwen3-0.8b is nearer to qwen3-0.6b than to qwen3-8b."""
    return "".join(letter for letter in name.lower() if letter.isalnum() or letter == ".")


def read_catalogue(
    path: Path, others: Mapping[str, ModelSpec], *, bundled: bool = False
) -> dict[str, ModelSpec]:
    """Return the entries of one file, which may refer to `others`; only the packaged one has the bundled model.

    Raises:
        SettingsError: as for `catalogue`.
    """
    document = TomlDocument(path)
    specs = {name: _spec(document, name, table, bundled) for name, table in document.tables.items()}
    names: dict[str, str] = {}
    for name, spec in specs.items():
        for alias in (name, *spec.aliases):
            if problem := name_problem(alias):
                raise document.error((name,), f"{alias!r} is not a valid name", problem)
            if (other := names.setdefault(alias.lower(), name)) != name:
                raise document.error((name,), f"{alias!r} is a name of {other!r} too")
    all_specs = {**others, **specs}
    for name in specs:
        _check_smaller(document, name, all_specs)
        _check_draft(document, name, all_specs)
    return specs


def _spec(document: TomlDocument, name: str, table: object, bundled: bool) -> ModelSpec:
    entry = document.struct(_CatalogueEntry, table, (name,))
    if (entry.file is None) == (not entry.files):
        raise document.error((name,), "files missing")
    if entry.file is not None and not bundled:
        hint = "to use a file on this machine: edgeinfer models import FILE"
        raise document.error((name, "file"), "only the bundled model can have this key", hint)
    files = [_file(document, (name, "files", quant), table, entry) for quant, table in entry.files.items()]
    shape = None if entry.shape is None else document.struct(Shape, entry.shape, (name, "shape"))
    if shape and isinstance(shape.kv_heads, list) and len(shape.kv_heads) != shape.layers:
        raise document.error(
            (name, "shape"), f"kv_heads has {len(shape.kv_heads)} entries for {shape.layers} layers"
        )
    return ModelSpec(
        description=entry.description,
        licence=entry.licence,
        context=entry.context,
        roles=entry.roles,
        aliases=entry.aliases,
        tool_format=entry.tool_format,
        defaults=SamplingDefaults(
            document.struct(RecommendedSampling, entry.sampling, (name, "sampling")).values(),
            document.struct(
                RecommendedSampling, entry.sampling_without_thinking, (name, "sampling_without_thinking")
            ).values(),
            entry.system_prompt,
        ),
        parameters=entry.parameters,
        smaller=entry.smaller,
        draft=entry.draft,
        shape=shape,
        files=files,
        file=entry.file,
        safetensors=_safetensors(document, name, entry),
    )


def _safetensors(document: TomlDocument, name: str, entry: _CatalogueEntry) -> SafetensorsSource | None:
    if entry.safetensors is None:
        return None
    keys = (name, "safetensors")
    source = document.struct(_CatalogueSafetensors, entry.safetensors, keys)
    for key, problem in (
        ("repo", repo_problem(source.repo)),
        ("revision", revision_problem(source.revision)),
    ):
        if problem:
            raise document.error((*keys, key), "not allowed", problem)
    return SafetensorsSource(source.repo, source.dtype, source.revision, source.size)


def _file(document: TomlDocument, keys: tuple[str, ...], table: object, entry: _CatalogueEntry) -> QuantFile:
    file = document.struct(_CatalogueFile, table, keys)
    repo, revision = file.repo or entry.repo, file.revision or entry.revision
    if repo is None:
        raise document.error(keys, "repo missing", "set repo for the model, or for each of its files")
    gguf = None if file.file.lower().endswith(".gguf") else "the file name must end in .gguf"
    problems = {
        "file": file_problem(file.file, pattern=True) or gguf,
        "repo": repo_problem(repo),
        "revision": revision_problem(revision),
    }
    for key, problem in problems.items():
        if problem:
            raise document.error((*keys, key), "not allowed", problem)
    quant = keys[-1].upper()
    if name_problem(quant):
        raise document.error(keys, f"{keys[-1]!r} is not a quantization", "for example: Q4_K_M")
    return QuantFile(quant, repo, file.file, file.size, revision, file.sha256, file.pure)


def _check_draft(document: TomlDocument, name: str, specs: Mapping[str, ModelSpec]) -> None:
    """Check that the draft model is another entry."""
    if (draft := specs[name].draft) is None:
        return
    model = draft.partition(":")[0]
    if model not in specs:
        raise document.error((name, "draft"), f"no such model: {model!r}", nearest_hint(model, specs))
    if model == name:
        raise document.error((name, "draft"), "is the model itself", "name a smaller one")


def _check_smaller(document: TomlDocument, name: str, specs: Mapping[str, ModelSpec]) -> None:
    """Check that the chain of smaller models exists, and does not lead back to the model."""
    chain = [name]
    while (smaller := specs[chain[-1]].smaller) is not None:
        if smaller not in specs:
            raise document.error(
                (name, "smaller"), f"no such model: {smaller!r}", nearest_hint(smaller, specs)
            )
        if smaller in chain:
            raise document.error((name, "smaller"), f"is circular: {' -> '.join((*chain, smaller))}")
        chain.append(smaller)
