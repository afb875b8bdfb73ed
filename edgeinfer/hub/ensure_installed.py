"""Makes sure that a model is installed: found in the store, downloaded, or made from a larger quantization.

Importing this loads huggingface_hub, which is slow: import it in the commands that need it.
"""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

from msgspec.structs import replace

from edgeinfer.errors import InvalidRequest, ModelNotFound
from edgeinfer.hub.download import download, installed_copy
from edgeinfer.hub.endpoint import Endpoint, hub_endpoint
from edgeinfer.hub.hub_index import RemoteFile, catalogue_files, repo_files
from edgeinfer.hub.reference import ModelReference
from edgeinfer.safetensors.folder import CONFIG
from edgeinfer.store import lookup
from edgeinfer.store.catalogue import ModelSpec, catalogue, resolve_spec
from edgeinfer.store.file_name import name_from_file, slug
from edgeinfer.store.free_space import check_free_space
from edgeinfer.store.progress import NullProgress, Progress, size_text
from edgeinfer.store.quantize import LOSSY, can_make, check_memory, quantize, source_for
from edgeinfer.store.store import Store
from edgeinfer.store.stored_model import StoredModel


def available_files(reference: ModelReference, *, hub: Endpoint | None = None) -> list[RemoteFile]:
    """List the files that a reference can mean, each with the name that its model gets in the store.

    Raises:
        ModelNotFound: there is no such model, or no file of it.
        DownloadFailed, Forbidden: the hub cannot be asked.
    """
    hub = hub or hub_endpoint()
    if reference.name is not None:
        name, spec = resolve_spec(reference.name)
        if spec.file is not None:
            hint = f"edgeinfer serve --model {name}"
            raise InvalidRequest(f"{name} comes with edgeinfer and needs no download", hint=hint)
        return catalogue_files(spec, name, revision=reference.revision, hub=hub)
    assert reference.repo
    specs = catalogue()
    files = repo_files(reference.repo, revision=reference.revision or "main", file=reference.file, hub=hub)
    return _one_model([replace(f, name=model_name(f.repo, f.file, specs)) for f in files], reference)


def _one_model(files: list[RemoteFile], reference: ModelReference) -> list[RemoteFile]:
    """Select the files of the model that is meant, as a repository may have several models."""
    models: dict[str, list[RemoteFile]] = {}
    for file in files:
        models.setdefault(file.name, []).append(file)
    matches = [m for m in models.values() if any(file.quant == reference.quant for file in m)]
    if reference.quant and len(matches) > 1:
        raise InvalidRequest(
            f"{reference.repo} has {reference.quant} of several models: {', '.join(models)}",
            param="model",
            hint=f"name a file, for example {reference.repo}/{matches[0][0].file}",
        )
    return max(matches or models.values(), key=len)


def model_name(repo: str, file: str, specs: dict[str, ModelSpec]) -> str:
    """Return the catalogue's name for the model of a file, or one made from the file's name."""
    if file == CONFIG:
        named = (n for n, spec in specs.items() if spec.safetensors and spec.safetensors.repo == repo)
        return next(named, slug(repo.partition("/")[2]))
    for name, spec in specs.items():
        if any(f.repo == repo and fnmatchcase(file.lower(), f.file.lower()) for f in spec.files):
            return name
    return name_from_file(PurePosixPath(file).name, repo)


def installed_model(reference: ModelReference, store: Store) -> StoredModel | None:
    """Return the newest installed model that a reference can mean."""
    if reference.name is not None:
        return lookup.installed_model(reference.name, reference.quant, store)
    return next(
        (
            stored
            for stored in reversed(store.installed())
            if stored.repo == reference.repo
            and reference.file in (None, stored.file)
            and reference.quant in (None, stored.quant)
        ),
        None,
    )


def ensure_installed(
    files: Sequence[RemoteFile],
    quant: str,
    store: Store,
    progress: Progress | None = None,
    *,
    hub: Endpoint | None = None,
    update: bool = False,
    requantize: bool = False,
    available: int | None = None,
) -> StoredModel:
    """Return the model in quantization `quant`, downloading or making it if it is not installed.

    An installed model is kept even if the hub has a newer one, unless `update` is set. `available` is the free
    memory in bytes, for quantizing.

    Raises:
        ModelNotFound: that quantization is not published, and cannot be made from those that are.
        EdgeinferError: as for `download` and `quantize`.
    """
    progress, hub = progress or NullProgress(), hub or hub_endpoint()
    quant = quant.upper()
    remote = next((file for file in files if file.quant == quant), None)
    name = files[0].name
    present = store.find(name, quant)
    if remote and present:
        if installed_copy(remote, store):
            return present
        if not update:
            progress.message(f"the hub has another version of {name}:{quant}; to download it: --update")
            return present
    if remote:
        stored = download(remote, store, progress, hub=hub)
        if present and present.origin != "import" and present.path != stored.path:
            progress.message(
                "the old file may still be in use; to free its disk space later: edgeinfer models prune"
            )
        return stored
    if present:
        return present
    ggufs = [file for file in files if not file.parts]
    source = source_for(quant, ggufs, requantize=requantize) if can_make(quant) else None
    if source is None:
        raise _not_published(name, quant, files)
    return _make(source, quant, store, progress, hub, requantize=requantize, available=available)


def _make(
    source: RemoteFile,
    quant: str,
    store: Store,
    progress: Progress,
    hub: Endpoint,
    *,
    requantize: bool,
    available: int | None,
) -> StoredModel:
    """Download the source, quantize it, and remove it again unless it was installed before."""
    check_memory(available)
    installed = store.find(source.name, source.quant)
    progress.message(f"{source.name}:{quant} is not published; making it from {source.quant}")
    if source.quant == LOSSY:
        progress.message(f"made from {LOSSY}, its quality is slightly lower than made from F16")
    if installed is None and source.size:
        result = source.size * (int(quant.lstrip("IQ")[0]) + 2.5) / (8.5 if source.quant == LOSSY else 16)
        check_free_space(store.incoming(source.repo, source.revision), int(source.size + result))
    original = installed or download(source, store, progress, hub=hub)
    model = quantize(original, quant, store, progress, requantize=requantize, available=available)
    if installed is None:
        progress.message(f"removed {original.quant} again ({size_text(store.remove(original))})")
    return model


def _not_published(name: str, quant: str, files: Sequence[RemoteFile]) -> ModelNotFound:
    hint = f"published: {', '.join(dict.fromkeys(file.quant for file in files))}"
    if can_make(quant) and any(file.quant == LOSSY for file in files):
        hint += "; --requantize makes it from Q8_0, at some cost in quality"
    return ModelNotFound(f"{name} is not published as {quant}", param="quant", hint=hint)
