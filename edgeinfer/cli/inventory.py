"""What `edgeinfer models` shows: models as facts for a program, and as lines for a person."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from edgeinfer.errors import ModelLoadFailed, ModelNotFound
from edgeinfer.gguf.header import Header, read_header
from edgeinfer.store.catalogue import ModelSpec, catalogue
from edgeinfer.store.external_stores import ExternalFile
from edgeinfer.store.lookup import (
    BUNDLED_MODEL,
    catalogue_name,
    find_model,
    is_file_reference,
    model_roles,
    recorded_models,
)
from edgeinfer.store.progress import size_text
from edgeinfer.store.store import Store
from edgeinfer.store.stored_model import StoredModel, model_problem

Facts = dict[str, Any]

WIDTH = 14
"""Of the left column of what is known of one model."""


def installed(store: Store) -> list[Facts]:
    """Every model that there is, the bundled one first, then as they came."""
    known = catalogue()
    bundled = find_model(BUNDLED_MODEL, Store(Path("/nowhere")))
    first = {
        "name": BUNDLED_MODEL,
        "quant": None,
        "size": bundled.header.size if bundled.header else None,
        "origin": "bundled",
        "roles": known[BUNDLED_MODEL].roles,
        "path": bundled.path,
        "problem": None,
    }
    return [first, *(of_stored(stored, known.get(stored.name)) for stored in store.recorded())]


def of_stored(stored: StoredModel, spec: ModelSpec | None) -> Facts:
    return {
        "name": stored.name,
        "quant": stored.quant,
        "size": stored.size,
        "origin": stored.origin,
        "roles": list(model_roles(stored, spec)),
        "path": str(stored.path),
        "problem": model_problem(stored),
        "sha256": stored.sha256,
        "repo": stored.repo,
        "revision": stored.revision,
        "file": stored.file,
        "added": datetime.datetime.fromtimestamp(stored.added, datetime.timezone.utc).isoformat(
            "T", "seconds"
        ),
    }


def available(store: Store) -> list[Facts]:
    """The catalogue's models of which nothing is installed."""
    here = {stored.name for stored in store.recorded()}
    return [of_spec(name, spec) for name, spec in catalogue().items() if name not in here and spec.files]


def of_spec(name: str, spec: ModelSpec) -> Facts:
    files = [{"quant": f.quant, "size": f.size, "repo": f.repo, "file": f.file} for f in spec.files]
    return {"name": name, "origin": None, "roles": list(spec.roles), "files": files} | _of_catalogue(spec)


def _of_catalogue(spec: ModelSpec) -> Facts:
    return {
        "description": spec.description,
        "licence": spec.licence,
        "aliases": spec.aliases,
        "context": spec.context,
        "parameters": spec.parameters,
        "tool_format": spec.tool_format,
    }


def facts(name: str, store: Store) -> Facts:
    """All that is known of the model that `name` means.

    Raises:
        ModelNotFound, ModelLoadFailed: as `find`.
    """
    known = catalogue()
    records = [] if is_file_reference(name) else recorded_models(name, store)
    if records:
        stored = max(records, key=lambda s: (model_problem(s) is None, s.added))
        spec = known.get(stored.name)
        found = of_stored(stored, spec) | (_of_catalogue(spec) if spec else {})
        return found | ({} if found["problem"] else _of_header(stored.path))
    try:
        model = find_model(name, store)
    except ModelNotFound:
        spec = known.get(catalogue_name(name))
        if spec is None:
            raise
        return of_spec(catalogue_name(name), spec)
    spec = known.get(model.name) if model.name == BUNDLED_MODEL else None
    found = {"name": model.name, "origin": "bundled" if spec else "file", "path": model.path}
    return found | (_of_catalogue(spec) if spec else {}) | (_header(model.header) if model.header else {})


def _of_header(path: Path) -> Facts:
    try:
        return _header(read_header(path))
    except ModelLoadFailed as e:
        return {"problem": e.message}


def _header(header: Header) -> Facts:
    metadata = header.metadata
    return {
        "size": header.size,
        "architecture": header.architecture,
        "title": metadata.get("general.name"),
        "context": header.number("context_length"),
        "layers": header.number("block_count"),
        "embedding": header.number("embedding_length"),
        "vocabulary": header.vocabulary,
        "weights": header.by_type(),
        "chat_template": "tokenizer.chat_template" in metadata,
        "licence_of_file": metadata.get("general.license"),
    }


def candidates(store: Store, found: Iterable[ExternalFile]) -> list[Facts]:
    """What could be imported."""
    here = {stored.path for stored in store.recorded()}
    return [
        {
            "name": one.name,
            "quant": one.quant,
            "size": one.size,
            "source": one.source,
            "path": str(one.path),
            "imported": one.path in here,
        }
        for one in found
    ]


def table(rows: Sequence[Facts]) -> str:
    """The rows of `installed` and `available`."""
    lines = [("NAME", "QUANT", "SIZE", "ORIGIN", "FOR", "")]
    for row in rows:
        if files := row.get("files"):
            size = min((file["size"] for file in files if file["size"]), default=None)
            quants = " ".join(file["quant"] for file in files)
            last = f"edgeinfer pull {row['name']}"
        else:
            size, quants = row["size"], row["quant"] or "-"
            last = row["path"] + (f" ({row['problem']})" if row["problem"] else "")
        lines.append(
            (
                row["name"],
                quants,
                _size(size, files),
                row["origin"] or "-",
                " ".join(row["roles"]) or "-",
                last,
            )
        )
    return columns(lines)


def candidates_table(rows: Sequence[Facts]) -> str:
    lines = [("NAME", "QUANT", "SIZE", "OF", "")]
    for row in rows:
        note = " (imported)" if row["imported"] else ""
        size = size_text(row["size"])
        lines.append((row["name"], row["quant"] or "-", size, row["source"], row["path"] + note))
    return columns(lines)


def columns(lines: Sequence[Sequence[str]]) -> str:
    """Lines of words, one below the other."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "".join(
        "  ".join(word.ljust(width) for word, width in zip(line, widths, strict=True)).rstrip() + "\n"
        for line in lines
    )


def described(found: Mapping[str, Any]) -> str:
    """A model's facts, one a line; what is not known is left out."""
    return "".join(
        f"{key.replace('_', ' '):<{WIDTH}}  {text}\n"
        for key, value in found.items()
        if (text := _text(key, value))
    )


def _text(key: str, value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None or value in ([], {}):
        return ""
    if key == "size":
        return f"{size_text(value)} ({value:,} bytes)"
    if key == "weights":
        return ", ".join(f"{kind} {size_text(size)}" for kind, size in value.items())
    if key == "files":
        return ", ".join(f["quant"] + (f" {size_text(f['size'])}" if f["size"] else "") for f in value)
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return f"{value:,}" if isinstance(value, int) else str(value)


def _size(size: int | None, least: object) -> str:
    if size is None:
        return "-"
    return f"{size_text(size)}+" if least else size_text(size)
