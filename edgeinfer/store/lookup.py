"""Which model a name means: an installed one, the bundled one, a GGUF file, or the fake."""

from __future__ import annotations

from pathlib import Path

import msgspec

from edgeinfer.errors import ModelLoadFailed, ModelNotFound
from edgeinfer.gguf.header import Header, read_header
from edgeinfer.inference.fake_model import FAKE_MODEL, is_fake_model
from edgeinfer.store.catalogue import PACKAGE_DIR, ModelSpec, catalogue, resolve_spec
from edgeinfer.store.store import Store, StoredModel, model_problem, store_root
from edgeinfer.store.toml_document import nearest_hint

BUNDLED_MODEL = "edgeinfer-nano"


class LocalModel(msgspec.Struct, frozen=True):
    """A model that can be served. `header` is None for the fake, `quant` for all but installed ones."""

    name: str
    path: str
    header: Header | None
    tool_format: str | None = None
    quant: str | None = None


def find_model(name: str | None, store: Store | None = None) -> LocalModel:
    """The model that `name` means.

    NAME or NAME:QUANT of an installed one, in any case, or an alias of the catalogue; the bundled one; a GGUF
    file's path; "fake". None is the chat model that was installed last, else the bundled one.

    Raises:
        ModelNotFound: nothing here has that name; the hint says what has, or how to get it.
        ModelLoadFailed: the file is no sound GGUF file.
    """
    store = store or Store(store_root())
    if not name:
        return _newest_chat(store) or _bundled()
    if is_fake_model(name):
        return LocalModel(FAKE_MODEL, name, None)
    if is_file_reference(name):
        return _file(name)
    wanted, _, quant = name.partition(":")
    if stored := installed_model(wanted, quant or None, store):
        return _model(stored, catalogue().get(stored.name))
    if wanted.lower() == BUNDLED_MODEL and not quant:
        return _bundled()
    if Path(name).is_file():
        return _file(name)
    raise _not_here(wanted, quant, store)


def is_file_reference(name: str) -> bool:
    """Whether a file is meant, not a model's name."""
    return "/" in name or name.lower().endswith(".gguf")


def installed_model(name: str, quant: str | None, store: Store) -> StoredModel | None:
    """The newest model of that name, or of the one that it is an alias for; None where there is none to serve."""
    return store.find(name, quant) or store.find(catalogue_name(name), quant)


def recorded_models(name: str, store: Store) -> list[StoredModel]:
    """What is noted under NAME or NAME:QUANT, oldest first, whether it can be served or not."""
    wanted, _, quant = name.lower().partition(":")
    names = (wanted, catalogue_name(wanted).lower())
    return [s for s in store.recorded() if s.name.lower() in names and quant in ("", s.quant.lower())]


def catalogue_name(name: str) -> str:
    """The catalogue's name for a name or an alias; what it does not know stays as it is."""
    try:
        return resolve_spec(name)[0]
    except ModelNotFound:
        return name


def model_roles(stored: StoredModel, spec: ModelSpec | None) -> tuple[str, ...]:
    """What an installed model is for: "chat", "code", "embed"; nothing where neither the catalogue nor its
    header says.
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
    """What a header shows of that."""
    causal = header.metadata.get(f"{header.architecture}.attention.causal", True)
    if header.number("pooling_type") or not causal:
        return ("embed",)
    return ("chat",) if "tokenizer.chat_template" in header.metadata else ()


def _newest_chat(store: Store) -> LocalModel | None:
    known = catalogue()
    for stored in reversed(store.installed()):
        spec = known.get(stored.name)
        if "chat" in model_roles(stored, spec):
            return _model(stored, spec)
    return None


def _model(stored: StoredModel, spec: ModelSpec | None) -> LocalModel:
    tool_format = spec.tool_format if spec else None
    return LocalModel(stored.name, str(stored.path), read_header(stored.path), tool_format, stored.quant)


def _bundled() -> LocalModel:
    spec = catalogue()[BUNDLED_MODEL]
    path = PACKAGE_DIR / (spec.file or "")
    return LocalModel(BUNDLED_MODEL, str(path), read_header(path), spec.tool_format)


def _file(name: str) -> LocalModel:
    path = Path(name)
    if not path.is_file():
        raise ModelNotFound(f"no such file: {name!r}", param="model")
    return LocalModel(path.stem, str(path.resolve()), read_header(path))


def _not_here(name: str, quant: str, store: Store) -> ModelNotFound:
    """Why not, and what to do about it."""
    known = catalogue()
    meant = catalogue_name(name)
    for stored in recorded_models(f"{name}:{quant}" if quant else name, store):
        return ModelNotFound(
            f"{stored.name}:{stored.quant} cannot be served: {model_problem(stored)} ({stored.path})",
            param="model",
            hint=f"edgeinfer models rm {stored.name}:{stored.quant}, and get it again",
        )
    quants = ", ".join(stored.quant for stored in recorded_models(name, store))
    if meant in known:
        asked = f"{meant}:{quant.upper()}" if quant else meant
        here = f"; of it there is {quants}" if quants else ""
        return ModelNotFound(f"{asked} is not installed{here}", param="model", hint=f"edgeinfer pull {asked}")
    if quants:
        return ModelNotFound(f"there is no {quant} of {meant} here", param="model", hint=f"take {quants}")
    names = [*dict.fromkeys(stored.name for stored in store.installed()), *known]
    return ModelNotFound(f"no model {name!r}", param="model", hint=nearest_hint(name, names))
