"""Lists the models that could be installed, from the catalogue and the store, with their headers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from edgeinfer.gguf.header import Header, read_header
from edgeinfer.plan.model_option import ModelOption
from edgeinfer.safetensors.folder import read_folder
from edgeinfer.store.catalogue import PACKAGE_DIR, ModelSpec, catalogue, resolve_spec
from edgeinfer.store.lookup import BUNDLED_MODEL
from edgeinfer.store.predicted_folder import predicted_folder
from edgeinfer.store.predicted_header import predicted_header
from edgeinfer.store.store import Store

FLAGSHIP = "deepseek-r1-distill-qwen-1.5b"

MIN_PARAMETERS = 500_000_000
"""Chat models with fewer understand so little that they are not taken for their speed alone."""


def model_options(name: str | None = None, store: Store | None = None) -> list[ModelOption]:
    """Return the options of a catalogue model, of the smaller models it names, and the bundled one.

    Headers of installed files are read, others are predicted without using the network. A model that is not
    installed, and whose shape the catalogue does not have, cannot be planned and is left out.

    Args:
        name: None is the flagship.

    Raises:
        ModelNotFound: the catalogue has no model of that name.
    """
    specs = catalogue()
    name, spec = resolve_spec(name or FLAGSHIP)
    options: list[ModelOption] = []
    seen: set[str] = set()
    while name not in seen:
        seen.add(name)
        options += options_of(name, spec, store)
        if spec.smaller is None:
            break
        name, spec = spec.smaller, specs[spec.smaller]
    if BUNDLED_MODEL not in seen and BUNDLED_MODEL in specs:
        options += options_of(BUNDLED_MODEL, specs[BUNDLED_MODEL], None)
    return options


def options_of(name: str, spec: ModelSpec, store: Store | None) -> Iterator[ModelOption]:
    """Yield the options of one model, without those of smaller ones."""
    if spec.file is not None:
        yield _bundled(name, spec, PACKAGE_DIR / spec.file)
        return
    installed: dict[str, Path] = {}
    if store is not None:
        installed = {
            stored.quant: stored.path
            for stored in store.installed()
            if stored.name == name and not stored.parts
        }
    yield from _in_safetensors(name, spec, store)
    for quant in dict.fromkeys([*(file.quant for file in spec.files), *installed]):
        place, file = installed.get(quant), spec.quant(quant)
        header = read_header(place) if place else predicted_header(spec, quant)
        if header is None:
            continue
        published = file.size if file and not place else None
        yield ModelOption(
            name,
            quant,
            header,
            published or header.size,
            spec.licence,
            str(place) if place else None,
            spec.tool_format,
            fallback=_is_fallback(spec),
        )


def _in_safetensors(name: str, spec: ModelSpec, store: Store | None) -> Iterator[ModelOption]:
    """Yield the model in safetensors, installed or not."""
    installed = store.installed() if store else []
    stored = next((s for s in reversed(installed) if s.name == name and s.parts), None)
    folder = read_folder(stored.path) if stored else predicted_folder(name, spec)
    dtype = stored.quant if stored else spec.safetensors.dtype if spec.safetensors else None
    header = predicted_header(spec, "F16")
    if folder is None or dtype is None or header is None:
        return
    yield ModelOption(
        name,
        dtype,
        header,
        stored.size if stored else (spec.safetensors and spec.safetensors.size) or folder.size,
        spec.licence,
        str(stored.path) if stored else None,
        spec.tool_format,
        fallback=_is_fallback(spec),
        folder=folder,
    )


def folder_option(name: str, path: Path, quant: str | None = None) -> ModelOption:
    """Return the option of a folder with safetensors. Raises ModelLoadFailed."""
    folder = read_folder(path)
    header = Header({"general.architecture": folder.architecture}, (), folder.size)
    return ModelOption(name, quant or folder.dtype, header, folder.size, path=str(path), folder=folder)


def _bundled(name: str, spec: ModelSpec, path: Path) -> ModelOption:
    header = read_header(path)
    quant, size = quant_name(header), header.size
    return ModelOption(name, quant, header, size, spec.licence, str(path), spec.tool_format, bundled=True)


def _is_fallback(spec: ModelSpec) -> bool:
    return "chat" in spec.roles and (spec.parameters or MIN_PARAMETERS) < MIN_PARAMETERS


def quant_name(header: Header) -> str:
    """Return the name of a file's quantization: the one it states, else the type of most of its weights."""
    if header.file_type:
        return header.file_type
    sizes = header.by_type()
    return max(sizes, key=lambda name: sizes[name], default="")
