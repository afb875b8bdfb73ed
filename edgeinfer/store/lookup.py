"""Finds the model that a name stands for: an installed one, the bundled one, a GGUF file, or the fake."""

from __future__ import annotations

import re
import stat
from pathlib import Path

import msgspec

from edgeinfer.errors import ModelLoadFailed, ModelNotFound
from edgeinfer.gguf.file_types import FILE_TYPES
from edgeinfer.gguf.header import Header, read_header
from edgeinfer.inference.fake_model import FAKE_MODEL, is_fake_model
from edgeinfer.safetensors.folder import ModelFolder, is_model_folder, read_folder
from edgeinfer.store.catalogue import PACKAGE_DIR, ModelSpec, catalogue, resolve_spec, similar_model
from edgeinfer.store.file_name import name_from_file
from edgeinfer.store.location import store_root
from edgeinfer.store.model_name import QUANT, split_name
from edgeinfer.store.names import repo_problem
from edgeinfer.store.sampling_defaults import SamplingDefaults
from edgeinfer.store.store import Store
from edgeinfer.store.stored_model import StoredModel, model_problem

BUNDLED_MODEL = "edgeinfer-nano"
HUB = re.compile(r"(?:https?://)?(?:huggingface\.co|hf\.co)/.", re.I)


class LocalModel(msgspec.Struct, frozen=True):
    """A model that can be served: a GGUF file with its `header`, a `folder` with safetensors, or the fake.

    Only installed models have a `quant`.
    """

    name: str
    path: str
    header: Header | None
    tool_format: str | None = None
    quant: str | None = None
    defaults: SamplingDefaults = SamplingDefaults()
    folder: ModelFolder | None = None


def find_model(name: str | None, store: Store | None = None, *, in_safetensors: bool = False) -> LocalModel:
    """Return the model that `name` stands for.

    `name` may be NAME, NAME:QUANT or NAME:SIZE of an installed model, in any case, or an alias of the catalogue; the
    bundled model; the path of a GGUF file or of a folder with safetensors; or "fake". None stands for the chat model installed last, else the bundled one.

    Raises:
        ModelNotFound: there is no such model here; the hint has a similar name, or how to get it.
        ModelLoadFailed: the file is not a valid GGUF file.
    """
    store = store or Store(store_root())
    if not name:
        return _newest_chat(store) or _bundled()
    if is_fake_model(name):
        return LocalModel(FAKE_MODEL, name, None)
    if is_file_reference(name):
        return _file(name)
    model, quant = split_name(name)
    if stored := installed_model(model, quant, store, in_safetensors=in_safetensors):
        return _model(stored, catalogue().get(stored.name))
    if model.lower() == BUNDLED_MODEL and not quant:
        return _bundled()
    if _is_file(Path(name)) or is_model_folder(Path(name)):
        return _file(name)
    raise _not_installed(model, quant or "", store)


def is_file_reference(name: str) -> bool:
    """Tell whether `name` is the path of a file rather than the name of a model."""
    return "/" in name or name.lower().endswith(".gguf")


def installed_model(
    name: str, quant: str | None, store: Store, *, in_safetensors: bool = False
) -> StoredModel | None:
    """Return the newest servable model with that name or alias; None if there is none.

    Without a quantization it is a GGUF file, or `in_safetensors`, where there is one.
    """
    if in_safetensors and quant is None:
        names = (name.lower(), catalogue_name(name).lower())
        installed = (s for s in reversed(store.installed()) if s.parts and s.name.lower() in names)
        if stored := next(installed, None):
            return stored
    return store.find(name, quant) or store.find(catalogue_name(name), quant)


def recorded_models(name: str, store: Store) -> list[StoredModel]:
    """List the models recorded as NAME or NAME:QUANT, oldest first, whether they can be served or not."""
    model, quant = split_name(name)
    names = (model.lower(), catalogue_name(model).lower())
    return [
        s
        for s in store.recorded()
        if s.name.lower() in names and (quant is None or s.quant.lower() == quant.lower())
    ]


def catalogue_name(name: str) -> str:
    """Return the catalogue's name for a name or an alias; unknown names are returned unchanged."""
    try:
        return resolve_spec(name)[0]
    except ModelNotFound:
        return name


def model_roles(stored: StoredModel, spec: ModelSpec | None) -> tuple[str, ...]:
    """Return what an installed model is for: "chat", "code", "embed", "rerank"; empty if neither the catalogue nor its
    header tells.
    """
    if spec:
        return tuple(spec.roles)
    if stored.roles is not None:
        return stored.roles
    try:
        return header_roles(read_header(stored.path))
    except ModelLoadFailed:
        return ()


def header_roles(header: Header) -> tuple[str, ...]:
    """Return the roles that a header shows."""
    if header.reranks:
        return ("rerank",)
    causal = header.metadata.get(f"{header.architecture}.attention.causal", True)
    if header.number("pooling_type") or not causal:
        return ("embed",)
    return ("chat",) if "tokenizer.chat_template" in header.metadata else ()


def _newest_chat(store: Store) -> LocalModel | None:
    specs = catalogue()
    for stored in reversed(store.installed()):
        spec = specs.get(stored.name)
        if "chat" in model_roles(stored, spec):
            return _model(stored, spec)
    return None


def _model(stored: StoredModel, spec: ModelSpec | None) -> LocalModel:
    tool_format, defaults = (spec.tool_format, spec.defaults) if spec else (None, SamplingDefaults())
    if stored.parts:
        folder = read_folder(stored.path)
        return LocalModel(stored.name, str(stored.path), None, tool_format, stored.quant, defaults, folder)
    header = read_header(stored.path)
    return LocalModel(stored.name, str(stored.path), header, tool_format, stored.quant, defaults)


def bundled_file() -> str:
    """Return the path of the bundled model's file."""
    return str(PACKAGE_DIR / (catalogue()[BUNDLED_MODEL].file or ""))


def _bundled() -> LocalModel:
    path = bundled_file()
    return LocalModel(BUNDLED_MODEL, path, read_header(Path(path)), catalogue()[BUNDLED_MODEL].tool_format)


def _is_on_the_hub(name: str) -> bool:
    repo, colon, quant = name.partition(":")
    is_repo = repo_problem(repo) is None and (not colon or QUANT.fullmatch(quant) is not None)
    return is_repo or HUB.match(name) is not None


def _file(name: str) -> LocalModel:
    path = Path(name)
    if is_model_folder(path):
        return LocalModel(path.resolve().name, str(path.resolve()), None, folder=read_folder(path.resolve()))
    if not _is_file(path):
        hint = f"for a repository on the hub: edgeinfer pull {name}" if _is_on_the_hub(name) else None
        raise ModelNotFound(f"no such file: {name!r}", param="model", hint=hint)
    try:
        defaults = resolve_spec(name_from_file(path.name))[1].defaults
    except ModelNotFound:
        defaults = SamplingDefaults()
    return LocalModel(path.stem, str(path.resolve()), read_header(path), defaults=defaults)


def _is_file(path: Path) -> bool:
    """Tell if it is a file. `Path.is_file` does not say from Python 3.14 on why a path cannot be looked at."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError, ValueError):  # the last one for a null character
        return False
    except OSError as e:  # no permission, or a name that is too long
        raise ModelNotFound(f"{str(path)[:200]!r} cannot be read: {e.strerror}", param="model") from e


def _not_installed(name: str, quant: str, store: Store) -> ModelNotFound:
    """Explain why there is no such model, and what to do about it."""
    specs = catalogue()
    model = catalogue_name(name)
    for stored in recorded_models(f"{name}:{quant}" if quant else name, store):
        return ModelNotFound(
            f"{stored.name}:{stored.quant} cannot be served: {model_problem(stored)} ({stored.path})",
            param="model",
            hint=f"edgeinfer models rm {stored.name}:{stored.quant}, then get it again",
        )
    quants = ", ".join(stored.quant for stored in recorded_models(name, store))
    if model in specs:
        reference = f"{model}:{quant.upper()}" if quant else model
        installed = f"; installed: {quants}" if quants else ""
        hint = f"edgeinfer pull {reference}"
        if quant and quant.upper() not in FILE_TYPES.values():
            published = ", ".join(file.quant for file in specs[model].files)
            hint = f"{quant} is no quantization; published: {published}"
        return ModelNotFound(f"{reference} is not installed{installed}", param="model", hint=hint)
    if quants:
        return ModelNotFound(
            f"{model} is not installed as {quant}", param="model", hint=f"installed: {quants}"
        )
    aliases = (alias for spec in specs.values() for alias in spec.aliases)
    present = list(dict.fromkeys(stored.name for stored in store.installed()))
    names = [*present, *specs, *aliases]
    return ModelNotFound(f"no such model: {name!r}", param="model", hint=similar_model(name, names, present))
