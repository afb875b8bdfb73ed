"""Have a model here: found, fetched, or made of a larger one. Heavy, as the hub's client is."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

import msgspec

from edgeinfer.errors import InvalidRequest, ModelNotFound
from edgeinfer.hub.download import download, installed_copy
from edgeinfer.hub.endpoint import Endpoint, hub_endpoint
from edgeinfer.hub.hub_index import RemoteFile, catalogue_files, repo_files
from edgeinfer.hub.reference import ModelReference
from edgeinfer.store import lookup as models
from edgeinfer.store.catalogue import ModelSpec, catalogue, resolve_spec
from edgeinfer.store.file_name import name_from_file
from edgeinfer.store.free_space import check_free_space
from edgeinfer.store.progress import NullProgress, Progress, size_text
from edgeinfer.store.quantize import LOSSY, can_make, check_memory, quantize, source_for
from edgeinfer.store.store import Store
from edgeinfer.store.stored_model import StoredModel


def available_files(wanted: ModelReference, *, hub: Endpoint | None = None) -> list[RemoteFile]:
    """The files that a reference can mean, each with the name that the model gets here.

    Raises:
        ModelNotFound: no such model, or nothing of it is published.
        DownloadFailed, Forbidden: the hub can't be asked.
    """
    hub = hub or hub_endpoint()
    if wanted.name is not None:
        name, spec = resolve_spec(wanted.name)
        if spec.file is not None:
            hint = f"edgeinfer serve --model {name}"
            raise InvalidRequest(f"{name} comes with edgeinfer, so there is nothing to fetch", hint=hint)
        return catalogue_files(spec, name, revision=wanted.revision, hub=hub)
    assert wanted.repo
    known = catalogue()
    found = repo_files(wanted.repo, revision=wanted.revision or "main", file=wanted.file, hub=hub)
    named = [msgspec.structs.replace(one, name=model_name(one.repo, one.file, known)) for one in found]
    return _one_model(named, wanted)


def _one_model(offered: list[RemoteFile], wanted: ModelReference) -> list[RemoteFile]:
    """Those of the model that is meant. A repository may have files of several."""
    models: dict[str, list[RemoteFile]] = {}
    for one in offered:
        models.setdefault(one.name, []).append(one)
    meant = [m for m in models.values() if any(one.quant == wanted.quant for one in m)]
    if wanted.quant and len(meant) > 1:
        raise InvalidRequest(
            f"{wanted.repo} has {wanted.quant} of several models: {', '.join(models)}",
            param="model",
            hint=f"name a file, such as {wanted.repo}/{meant[0][0].file}",
        )
    return max(meant or models.values(), key=len)


def model_name(repo: str, file: str, known: dict[str, ModelSpec]) -> str:
    """What the model of a file is called: as in the catalogue, where that has the file, else by the file's name."""
    for name, spec in known.items():
        if any(f.repo == repo and fnmatchcase(file.lower(), f.file.lower()) for f in spec.files):
            return name
    return name_from_file(PurePosixPath(file).name, repo)


def installed_model(wanted: ModelReference, store: Store) -> StoredModel | None:
    """The newest model here that a reference can mean."""
    if wanted.name is not None:
        return models.installed_model(wanted.name, wanted.quant, store)
    return next(
        (
            stored
            for stored in reversed(store.installed())
            if stored.repo == wanted.repo
            and wanted.file in (None, stored.file)
            and wanted.quant in (None, stored.quant)
        ),
        None,
    )


def ensure_installed(
    offered: Sequence[RemoteFile],
    quant: str,
    store: Store,
    progress: Progress | None = None,
    *,
    hub: Endpoint | None = None,
    update: bool = False,
    requantize: bool = False,
    available: int | None = None,
) -> StoredModel:
    """The model in quantization `quant`, in the store.

    One that is here is taken even if the hub has a newer one, unless `update`. `available`: bytes of
    memory, for the case that it must be made.

    Raises:
        ModelNotFound: that quantization is not published, and can't be made of what is.
        EdgeinferError: as `fetch` and `quantize`.
    """
    progress, hub = progress or NullProgress(), hub or hub_endpoint()
    quant = quant.upper()
    offer = next((one for one in offered if one.quant == quant), None)
    name = offered[0].name
    present = store.find(name, quant)
    if offer and present:
        if installed_copy(offer, store):
            return present
        if not update:
            progress.message(f"the hub has another {name}:{quant} by now; to fetch it: --update")
            return present
    if offer:
        stored = download(offer, store, progress, hub=hub)
        if present and present.origin != "import" and present.path != stored.path:
            progress.message(
                "the file it replaces may still be served; to free its room: edgeinfer models prune"
            )
        return stored
    if present:
        return present
    source = source_for(quant, offered, requantize=requantize) if can_make(quant) else None
    if source is None:
        raise _not_published(name, quant, offered)
    return _make(source, quant, store, progress, hub, requantize=requantize, available=available)


def _make(
    offer: RemoteFile,
    quant: str,
    store: Store,
    progress: Progress,
    hub: Endpoint,
    *,
    requantize: bool,
    available: int | None,
) -> StoredModel:
    """Fetch what it is made of, make it, and keep the former only if it was here before."""
    check_memory(available)
    had = store.find(offer.name, offer.quant)
    progress.message(f"nobody has published {offer.name}:{quant}: it is made here of {offer.quant}")
    if offer.quant == LOSSY:
        progress.message(f"of {LOSSY} it is slightly poorer than one made of F16")
    if had is None and offer.size:
        result = offer.size * (int(quant.lstrip("IQ")[0]) + 2.5) / (8.5 if offer.quant == LOSSY else 16)
        check_free_space(store.incoming(offer.repo, offer.revision), int(offer.size + result))
    source = had or download(offer, store, progress, hub=hub)
    made = quantize(source, quant, store, progress, requantize=requantize, available=available)
    if had is None:
        progress.message(f"{size_text(store.remove(source))} of {source.quant} removed again")
    return made


def _not_published(name: str, quant: str, offered: Sequence[RemoteFile]) -> ModelNotFound:
    hint = f"published: {', '.join(dict.fromkeys(one.quant for one in offered))}"
    if can_make(quant) and any(one.quant == LOSSY for one in offered):
        hint += "; --requantize makes it of Q8_0, at some cost in quality"
    return ModelNotFound(f"{name} is not published as {quant}", param="quant", hint=hint)
