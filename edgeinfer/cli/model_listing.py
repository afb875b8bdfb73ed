"""Output of `edgeinfer models`: models as data for a program, and as lines for a person."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from edgeinfer.errors import ModelLoadFailed, ModelNotFound
from edgeinfer.gguf.header import Header, read_header
from edgeinfer.gguf.reader import Value
from edgeinfer.safetensors.folder import ModelFolder, read_folder, read_tokenizer
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

Row = dict[str, Any]

LABEL_WIDTH = 14
"""Width of the left column in the details of a model, at least."""

MAX_TEXT = 200
"""Characters of a text from a model file; it may have a million."""


def installed_rows(store: Store) -> list[Row]:
    """Return all usable models: the bundled one first, then in the order of installation."""
    known = catalogue()
    bundled = find_model(BUNDLED_MODEL, Store(Path("/nowhere")))
    bundled_row = {
        "name": BUNDLED_MODEL,
        "quant": None,
        "size": bundled.header.size if bundled.header else None,
        "origin": "bundled",
        "roles": known[BUNDLED_MODEL].roles,
        "path": bundled.path,
        "problem": None,
    }
    return [bundled_row, *(stored_row(stored, known.get(stored.name)) for stored in store.recorded())]


def stored_row(stored: StoredModel, spec: ModelSpec | None) -> Row:
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


def available_rows(store: Store) -> list[Row]:
    """Return the catalogue's models that are not installed in any quantization."""
    installed = {stored.name for stored in store.recorded()}
    return [
        spec_row(name, spec) for name, spec in catalogue().items() if name not in installed and spec.files
    ]


def spec_row(name: str, spec: ModelSpec) -> Row:
    files = [{"quant": f.quant, "size": f.size, "repo": f.repo, "file": f.file} for f in spec.files]
    return {"name": name, "origin": None, "roles": list(spec.roles), "files": files} | _spec_facts(spec)


def _spec_facts(spec: ModelSpec) -> Row:
    return {
        "description": spec.description,
        "licence": spec.licence,
        "aliases": spec.aliases,
        "context": spec.context,
        "parameters": spec.parameters,
        "tool_format": spec.tool_format,
        "sampling": spec.defaults.sampling,
        "sampling_without_thinking": spec.defaults.without_thinking,
        "system_prompt": spec.defaults.system_prompt,
    }


def model_details(name: str, store: Store) -> Row:
    """Return all that is known of a model.

    Raises:
        ModelNotFound: there is no such model.
        ModelLoadFailed: its file cannot be read.
    """
    known = catalogue()
    records = [] if is_file_reference(name) else recorded_models(name, store)
    if records:
        stored = max(records, key=lambda s: (model_problem(s) is None, s.added))
        spec = known.get(stored.name)
        row = stored_row(stored, spec) | (_spec_facts(spec) if spec else {})
        return row | ({} if row["problem"] else _file_facts(stored.path))
    try:
        model = find_model(name, store)
    except ModelNotFound:
        spec = known.get(catalogue_name(name))
        if spec is None:
            raise
        return spec_row(catalogue_name(name), spec)
    spec = known.get(model.name) if model.name == BUNDLED_MODEL else None
    row = {"name": model.name, "origin": "bundled" if spec else "file", "path": model.path}
    if model.folder:
        return row | _folder_facts(model.folder)
    return row | (_spec_facts(spec) if spec else {}) | (_header_facts(model.header) if model.header else {})


def _file_facts(path: Path) -> Row:
    try:
        if path.is_dir():
            return _folder_facts(read_folder(path))
        return _header_facts(read_header(path))
    except ModelLoadFailed as e:
        return {"problem": e.message}


def _folder_facts(folder: ModelFolder) -> Row:
    return {
        "size": folder.size,
        "architecture": folder.architecture,
        "context": folder.context,
        "layers": folder.layers,
        "embedding": folder.embedding,
        "vocabulary": folder.vocabulary,
        "weights": {folder.dtype: folder.size},
        "chat_template": bool(read_tokenizer(folder.path).chat_templates),
    }


def _header_facts(header: Header) -> Row:
    metadata = header.metadata
    return {
        "size": header.size,
        "architecture": header.architecture,
        "title": _short(metadata.get("general.name")),
        "context": header.number("context_length"),
        "layers": header.number("block_count"),
        "embedding": header.number("embedding_length"),
        "vocabulary": header.vocabulary,
        "weights": header.by_type(),
        "chat_template": "tokenizer.chat_template" in metadata,
        "licence_of_file": _short(metadata.get("general.license")),
    }


def _short(value: Value | None) -> Value | None:
    return value[:MAX_TEXT] if isinstance(value, str) else value


def importable_rows(store: Store, models: Iterable[ExternalFile]) -> list[Row]:
    """Return the models of other programs, as rows."""
    imported = {stored.path for stored in store.recorded()}
    return [
        {
            "name": model.name,
            "quant": model.quant,
            "size": model.size,
            "source": model.source,
            "path": str(model.path),
            "imported": model.path in imported,
        }
        for model in models
    ]


def models_table(rows: Sequence[Row]) -> list[Sequence[str]]:
    """Return the rows of `installed_rows` and `available_rows` as a table with a heading."""
    lines: list[Sequence[str]] = [("NAME", "QUANT", "SIZE", "ORIGIN", "FOR", "")]
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
    return lines


def importable_table(rows: Sequence[Row]) -> list[Sequence[str]]:
    """Return the rows of `importable_rows` as a table with a heading."""
    lines: list[Sequence[str]] = [("NAME", "QUANT", "SIZE", "PROGRAM", "")]
    for row in rows:
        note = " (imported)" if row["imported"] else ""
        size = size_text(row["size"])
        lines.append((row["name"], row["quant"] or "-", size, row["source"], row["path"] + note))
    return lines


def details_text(row: Mapping[str, Any]) -> str:
    """Return the details of a model, one per line; what is unknown is left out."""
    facts = [(key.replace("_", " "), text) for key, value in row.items() if (text := _text(key, value))]
    width = max([LABEL_WIDTH, *(len(label) for label, _ in facts)])
    return "".join(f"{label:<{width}}  {text}\n" for label, text in facts)


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
    if isinstance(value, dict):
        return ", ".join(f"{name} {number:g}" for name, number in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return f"{value:,}" if isinstance(value, int) else str(value)


def _size(size: int | None, at_least: object) -> str:
    if size is None:
        return "-"
    return f"{size_text(size)}+" if at_least else size_text(size)
