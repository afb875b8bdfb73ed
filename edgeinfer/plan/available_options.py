"""What could be installed: the catalogue's files and what is in the store, with their headers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from edgeinfer.gguf.header import Header, read_header
from edgeinfer.plan.model_option import ModelOption
from edgeinfer.store.catalogue import PACKAGE_DIR, ModelSpec, catalogue, resolve_spec
from edgeinfer.store.lookup import BUNDLED_MODEL
from edgeinfer.store.predicted_header import predicted_header
from edgeinfer.store.store import Store

FLAGSHIP = "deepseek-r1-distill-qwen-1.5b"


def offers(name: str | None = None, store: Store | None = None) -> list[ModelOption]:
    """Those of a model of the catalogue (None: the flagship), then of the smaller ones it names, then the bundled one.

    A file that is installed has its own header; of others it is predicted, so no network is asked. A
    catalogue's model without a known shape, and not installed, can't be planned for and is left out.

    Raises:
        ModelNotFound: the catalogue has no model of that name.
    """
    known = catalogue()
    name, spec = resolve_spec(name or FLAGSHIP)
    found: list[ModelOption] = []
    seen: set[str] = set()
    while name not in seen:
        seen.add(name)
        found += _of(name, spec, store)
        if spec.smaller is None:
            break
        name, spec = spec.smaller, known[spec.smaller]
    if BUNDLED_MODEL not in seen and BUNDLED_MODEL in known:
        found += _of(BUNDLED_MODEL, known[BUNDLED_MODEL], None)
    return found


def _of(name: str, spec: ModelSpec, store: Store | None) -> Iterator[ModelOption]:
    if spec.file is not None:
        path = PACKAGE_DIR / spec.file
        header = read_header(path)
        yield ModelOption(
            name, kind(header), header, header.size, spec.licence, str(path), spec.tool_format, bundled=True
        )
        return
    here: dict[str, Path] = {}
    if store is not None:
        here = {stored.quant: stored.path for stored in store.installed() if stored.name == name}
    for quant in dict.fromkeys([*(file.quant for file in spec.files), *here]):
        file = spec.quant(quant)
        if quant in here:
            header = read_header(here[quant])
            yield ModelOption(
                name, quant, header, header.size, spec.licence, str(here[quant]), spec.tool_format
            )
        elif (predicted := predicted_header(spec, quant)) is not None:
            size = (file.size if file else None) or predicted.size
            yield ModelOption(name, quant, predicted, size, spec.licence, None, spec.tool_format)


def kind(header: Header) -> str:
    """What a file's quantization is called: by its own word, else as most of its weights are."""
    if header.file_type:
        return header.file_type
    sizes = header.by_type()
    return max(sizes, key=lambda name: sizes[name], default="")
