"""Which model a name means: an installed one, the bundled one, a GGUF file, or the fake."""

from __future__ import annotations

from pathlib import Path

import msgspec

from edgeinfer.errors import ModelLoadFailed, ModelNotFound
from edgeinfer.gguf.header import Header, read_header
from edgeinfer.inference.fake_model import FAKE_MODEL, is_fake_model
from edgeinfer.store.catalogue import PACKAGE, ModelSpec, catalogue, resolve_spec
from edgeinfer.store.store import Store, Stored, problem, store_root
from edgeinfer.store.toml_document import nearest

BUNDLED = "edgeinfer-nano"


class Model(msgspec.Struct, frozen=True):
    """A model that can be served. `header` is None for the fake, `quant` for all but installed ones."""

    name: str
    path: str
    header: Header | None
    tool_format: str | None = None
    quant: str | None = None


def find(name: str | None, store: Store | None = None) -> Model:
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
        return Model(FAKE_MODEL, name, None)
    if is_path(name):
        return _file(name)
    wanted, _, quant = name.partition(":")
    if stored := installed(wanted, quant or None, store):
        return _model(stored, catalogue().get(stored.name))
    if wanted.lower() == BUNDLED and not quant:
        return _bundled()
    if Path(name).is_file():
        return _file(name)
    raise _not_here(wanted, quant, store)


def is_path(name: str) -> bool:
    """Whether a file is meant, not a model's name."""
    return "/" in name or name.lower().endswith(".gguf")


def installed(name: str, quant: str | None, store: Store) -> Stored | None:
    """The newest model of that name, or of the one that it is an alias for; None where there is none to serve."""
    return store.find(name, quant) or store.find(canonical(name), quant)


def recorded(name: str, store: Store) -> list[Stored]:
    """What is noted under NAME or NAME:QUANT, oldest first, whether it can be served or not."""
    wanted, _, quant = name.lower().partition(":")
    names = (wanted, canonical(wanted).lower())
    return [s for s in store.recorded() if s.name.lower() in names and quant in ("", s.quant.lower())]


def canonical(name: str) -> str:
    """The catalogue's name for a name or an alias; what it does not know stays as it is."""
    try:
        return resolve_spec(name)[0]
    except ModelNotFound:
        return name


def roles(stored: Stored, spec: ModelSpec | None) -> tuple[str, ...]:
    """What an installed model is for: "chat", "code", "embed"; nothing where neither the catalogue nor its
    header says.
    """
    if spec:
        return tuple(spec.roles)
    if stored.roles is not None:
        return stored.roles
    try:
        return roles_of(read_header(stored.path))
    except ModelLoadFailed:
        return ()


def roles_of(header: Header) -> tuple[str, ...]:
    """What a header shows of that."""
    causal = header.metadata.get(f"{header.architecture}.attention.causal", True)
    if header.number("pooling_type") or not causal:
        return ("embed",)
    return ("chat",) if "tokenizer.chat_template" in header.metadata else ()


def _newest_chat(store: Store) -> Model | None:
    known = catalogue()
    for stored in reversed(store.installed()):
        spec = known.get(stored.name)
        if "chat" in roles(stored, spec):
            return _model(stored, spec)
    return None


def _model(stored: Stored, spec: ModelSpec | None) -> Model:
    tool_format = spec.tool_format if spec else None
    return Model(stored.name, str(stored.path), read_header(stored.path), tool_format, stored.quant)


def _bundled() -> Model:
    spec = catalogue()[BUNDLED]
    path = PACKAGE / (spec.file or "")
    return Model(BUNDLED, str(path), read_header(path), spec.tool_format)


def _file(name: str) -> Model:
    path = Path(name)
    if not path.is_file():
        raise ModelNotFound(f"no such file: {name!r}", param="model")
    return Model(path.stem, str(path.resolve()), read_header(path))


def _not_here(name: str, quant: str, store: Store) -> ModelNotFound:
    """Why not, and what to do about it."""
    known = catalogue()
    meant = canonical(name)
    for stored in recorded(f"{name}:{quant}" if quant else name, store):
        return ModelNotFound(
            f"{stored.name}:{stored.quant} cannot be served: {problem(stored)} ({stored.path})",
            param="model",
            hint=f"edgeinfer models rm {stored.name}:{stored.quant}, and get it again",
        )
    quants = ", ".join(stored.quant for stored in recorded(name, store))
    if meant in known:
        asked = f"{meant}:{quant.upper()}" if quant else meant
        here = f"; of it there is {quants}" if quants else ""
        return ModelNotFound(f"{asked} is not installed{here}", param="model", hint=f"edgeinfer pull {asked}")
    if quants:
        return ModelNotFound(f"there is no {quant} of {meant} here", param="model", hint=f"take {quants}")
    names = [*dict.fromkeys(stored.name for stored in store.installed()), *known]
    return ModelNotFound(f"no model {name!r}", param="model", hint=nearest(name, names))
