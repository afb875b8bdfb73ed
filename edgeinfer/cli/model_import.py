"""Imports models that are on this machine already, for `edgeinfer models import`."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from edgeinfer.store.external_stores import ExternalFile
    from edgeinfer.store.store import Store
    from edgeinfer.store.stored_model import StoredModel

Source = Literal["hf", "ollama", "lmstudio"]
TITLES = {"hf": "Hugging Face", "ollama": "Ollama", "lmstudio": "LM Studio"}


def chosen_models(what: str | None, source: Source | None) -> list[ExternalFile]:
    """Return the models to import."""
    from edgeinfer.errors import ModelNotFound
    from edgeinfer.safetensors.folder import is_model_folder
    from edgeinfer.store.folder_import import external_folder
    from edgeinfer.store.imports import external_file, find_external_files
    from edgeinfer.store.lookup import is_file_reference
    from edgeinfer.user_folders import expanded_path

    if what is not None and source is None and is_model_folder(expanded_path(what)):
        return [external_folder(Path(what))]
    if what is not None and source is None and (is_file_reference(what) or expanded_path(what).is_file()):
        return [external_file(Path(what))]
    models = find_external_files(source)
    if what is not None:
        name, _, quant = what.lower().partition(":")
        models = [m for m in models if m.name.lower() == name and quant in ("", (m.quant or "").lower())]
    if not models:
        owner = TITLES[source] if source else None
        raise ModelNotFound(
            f"no other program has a model {what!r}" if what else f"{owner} has no models on this machine",
            param="model",
            hint="to list what can be imported: edgeinfer models import",
        )
    return models


def list_importable(store: Store, *, json: bool) -> None:
    from edgeinfer.cli import terminal
    from edgeinfer.cli.model_listing import importable_rows, importable_table
    from edgeinfer.store.imports import find_external_files

    rows = importable_rows(store, find_external_files())
    if json:
        terminal.write_json(rows)
    elif rows:
        terminal.write_table(importable_table(rows))
        terminal.say("hint: edgeinfer models import NAME")
    else:
        terminal.say("there are no models of Hugging Face, Ollama or LM Studio on this machine")


def add_model(store: Store, model: ExternalFile, name: str | None, *, alone: bool) -> StoredModel | None:
    """Import a model; one of several that cannot be imported is reported, and None."""
    from edgeinfer.cli import terminal
    from edgeinfer.cli.progress import with_progress
    from edgeinfer.errors import EdgeinferError
    from edgeinfer.store.folder_import import import_folder
    from edgeinfer.store.imports import import_file
    from edgeinfer.store.location import SYSTEM_STORE

    record = import_folder if model.path.is_dir() else import_file
    try:
        stored = with_progress(str(model.path), model.size, functools.partial(record, store, model, name))
    except EdgeinferError as e:
        if alone:
            raise
        terminal.report_error(e)
        return None
    top = Path(*stored.path.parts[:2])
    if store.root == SYSTEM_STORE and top in (Path("/home"), Path("/root")):
        terminal.say(
            f"warning: the system service cannot read files below {top}\nhint: move the file elsewhere, and import it there"
        )
    return stored


def copy_store(folder: Path, store: Store) -> list[StoredModel]:
    """Copy all models of the store in `folder`."""
    from edgeinfer.cli.progress import with_progress
    from edgeinfer.store.model_copy import copy_model
    from edgeinfer.store.store import Store

    return [
        with_progress(f"{model.name}:{model.quant}", model.size, functools.partial(copy_model, model, store))
        for model in Store(folder.resolve()).installed()
    ]
