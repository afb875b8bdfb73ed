"""Lists the model files that a hub has, with what it knows about their content."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from fnmatch import fnmatchcase

import msgspec

from edgeinfer.errors import DownloadFailed, EdgeinferError, Forbidden, ModelNotFound
from edgeinfer.hub.endpoint import Endpoint, hub_endpoint
from edgeinfer.hub.retries import MAX_LISTING_ATTEMPTS, RetryState
from edgeinfer.safetensors.folder import CONFIG, SENTENCEPIECE, TOKENIZER, model_files
from edgeinfer.store.catalogue import ModelSpec, QuantFile, SafetensorsSource
from edgeinfer.store.file_name import NO_MODEL, SPLIT, quant_label
from edgeinfer.store.names import file_problem
from edgeinfer.store.progress import NullProgress
from edgeinfer.store.stored_model import StoredPart, parts_digest
from edgeinfer.store.untrusted_json import decode_json


class RemoteFile(msgspec.Struct, frozen=True):
    """A model file of a hub.

    Attributes:
        name: of the model; "" if it has none yet.
        file: path in the repository; a pattern if the hub was not asked.
        revision: commit; if the hub was not asked, the catalogue's revision, such as "main".
        size: in bytes; None if unknown.
        sha256: as the hub gives it.
        git_sha1: git's hash of the file, for small files that have no sha256.
        expected: the sha256 in the catalogue.
        confirmed: the values come from the hub.
        parts: the files of a model in safetensors, which is downloaded as a folder.
    """

    name: str
    quant: str
    repo: str
    file: str
    revision: str
    size: int | None
    sha256: str | None
    git_sha1: str | None = None
    expected: str | None = None
    confirmed: bool = True
    parts: tuple[RemoteFile, ...] = ()


class _HubLfs(msgspec.Struct):
    sha256: str | None = None
    size: int | None = None


class _HubFile(msgspec.Struct):
    rfilename: str
    size: int | None = None
    blob_id: str | None = msgspec.field(default=None, name="blobId")
    lfs: _HubLfs | None = None


class _HubSafetensors(msgspec.Struct):
    """How many parameters of each type a repository has."""

    parameters: dict[str, int] = {}


class _HubRepo(msgspec.Struct):
    """The part of the hub's description of a repository that is used here."""

    sha: str
    siblings: list[_HubFile]
    safetensors: _HubSafetensors | None = None


def catalogue_files(
    spec: ModelSpec,
    name: str,
    *,
    revision: str | None = None,
    hub: Endpoint | None = None,
) -> list[RemoteFile]:
    """List the files of the catalogue's model `name` that the hub has, in the catalogue's order.

    A `revision` replaces the catalogue's, and its hashes are ignored then. For an offline `hub`, the files are
    listed as the catalogue has them.

    Raises:
        ModelNotFound, Forbidden, DownloadFailed: none of them is available.
    """
    hub = hub or hub_endpoint()
    if hub.offline:
        return [
            *(_from_catalogue(name, file) for file in spec.files),
            *([_folder_from_catalogue(name, spec.safetensors)] if spec.safetensors else []),
        ]
    repos: dict[tuple[str, str], _HubRepo | EdgeinferError] = {}
    remote_files = []
    for file in spec.files:
        place = (file.repo, revision or file.revision)
        if place not in repos:
            try:
                repos[place] = _fetch_repo(hub, *place)
            except (ModelNotFound, Forbidden) as e:  # another repository may be available, as on a mirror
                repos[place] = e
        repo = repos[place]
        if isinstance(repo, _HubRepo) and (match := _matching_file(repo, file)):
            expected = None if revision else file.sha256
            remote_files.append(_remote_file(name, file.quant, file.repo, repo, match, expected))
    if spec.safetensors:
        with contextlib.suppress(ModelNotFound, Forbidden):
            answer = _fetch_repo(hub, spec.safetensors.repo, revision or spec.safetensors.revision)
            if folder := _remote_folder(name, spec.safetensors.repo, answer, spec.safetensors.dtype):
                remote_files.append(folder)
    if not remote_files:
        for error in repos.values():
            if isinstance(error, EdgeinferError):
                raise error
        raise ModelNotFound(f"{hub.host} has none of the files of {name}", param="model")
    return remote_files


def repo_files(
    repo: str, *, revision: str = "main", file: str | None = None, hub: Endpoint | None = None
) -> list[RemoteFile]:
    """List the model files of any repository, or one of them; quantizations are read from the file names.

    Raises:
        ModelNotFound, Forbidden, DownloadFailed: see there.
        Offline: the hub cannot be asked.
    """
    hub = hub or hub_endpoint()
    answer = _fetch_repo(hub, repo, revision)
    models = [f for f in answer.siblings if _is_model(f.rfilename) and file in (None, f.rfilename)]
    complete = [f for f in models if not SPLIT.search(f.rfilename)]
    if not complete:
        if models:
            raise split_file_error(models[0].rfilename)
        if file is None and (folder := _remote_folder("", repo, answer)):
            return [folder]
        missing = f"no file {file}" if file else "no GGUF file and no safetensors"
        raise ModelNotFound(f"{repo} has {missing}", param="model", hint=f"see {hub.url}/{repo}/tree/main")
    return [_remote_file("", quant_label(f.rfilename), repo, answer, f) for f in complete]


def _folder_from_catalogue(name: str, source: SafetensorsSource) -> RemoteFile:
    return RemoteFile(
        name, source.dtype, source.repo, CONFIG, source.revision, source.size, None, confirmed=False
    )


def _remote_folder(name: str, repo: str, answer: _HubRepo, dtype: str | None = None) -> RemoteFile | None:
    """The model in safetensors that a repository has, named after the type of its weights; None if it has none."""
    names = set(model_files(f.rfilename for f in answer.siblings))
    files = [f for f in answer.siblings if f.rfilename in names]
    if (
        CONFIG not in names
        or not {TOKENIZER, SENTENCEPIECE} & names
        or not any(n.endswith(".safetensors") for n in names)
    ):
        return None
    counts = answer.safetensors.parameters if answer.safetensors else {}
    quant = dtype or max(counts, key=lambda kind: counts[kind], default="BF16")
    parts = tuple(_remote_file(name, quant, repo, answer, f) for f in files)
    sizes = [part.size for part in parts]
    return RemoteFile(
        name=name,
        quant=quant,
        repo=repo,
        file=CONFIG,
        revision=answer.sha,
        size=None if None in sizes else sum(size for size in sizes if size),
        sha256=_parts_digest(parts),
        parts=parts,
    )


def _parts_digest(parts: Sequence[RemoteFile]) -> str | None:
    """The hash of the list of files, as the store makes it; None where the hub does not give all of theirs."""
    if any(part.sha256 is None for part in parts):
        return None
    return parts_digest([StoredPart(part.file, part.size or 0, part.sha256 or "") for part in parts])


def _fetch_repo(hub: Endpoint, repo: str, revision: str) -> _HubRepo:
    from edgeinfer.hub.connection import HubConnection  # imports huggingface_hub, which is slow to load

    connection = HubConnection(hub)
    data = RetryState(hub, NullProgress().message, MAX_LISTING_ATTEMPTS).call(
        lambda: connection.repo_json(repo, revision)
    )
    try:
        answer = decode_json(data, _HubRepo)
    except ValueError as e:
        raise DownloadFailed(
            f"{hub.host} does not answer like a hub: {e}", hint=f"HF_ENDPOINT is {hub.url}"
        ) from e
    if not re.fullmatch("[0-9a-f]{40}", answer.sha):
        raise DownloadFailed(f"{hub.host} names no commit of {repo}", hint=f"HF_ENDPOINT is {hub.url}")
    return answer


def _matching_file(repo: _HubRepo, file: QuantFile) -> _HubFile | None:
    """Find the file for the catalogue's name or pattern; if there are several, the one with the shortest path."""
    pattern = file.file.lower()
    matches = [
        f
        for f in repo.siblings
        if fnmatchcase(f.rfilename.lower(), pattern)
        and _is_model(f.rfilename)
        and not SPLIT.search(f.rfilename)
    ]
    return min(matches, key=lambda f: (len(f.rfilename), f.rfilename), default=None)


def _is_model(file: str) -> bool:
    """Tell whether a file can be a model. Names from the hub are not trusted, because they become paths."""
    return file.lower().endswith(".gguf") and not NO_MODEL.search(file) and not file_problem(file)


def _remote_file(
    name: str, quant: str, repo: str, answer: _HubRepo, file: _HubFile, expected: str | None = None
) -> RemoteFile:
    size = file.lfs.size if file.lfs and file.lfs.size is not None else file.size
    return RemoteFile(
        name=name,
        quant=quant,
        repo=repo,
        file=file.rfilename,
        revision=answer.sha,
        size=size,
        sha256=_hex(file.lfs.sha256, 64) if file.lfs else None,
        git_sha1=None if file.lfs else _hex(file.blob_id, 40),
        expected=expected,
    )


def _hex(text: str | None, length: int) -> str | None:
    return text if text and re.fullmatch(f"[0-9a-f]{{{length}}}", text) else None


def _from_catalogue(name: str, file: QuantFile) -> RemoteFile:
    return RemoteFile(
        name=name,
        quant=file.quant,
        repo=file.repo,
        file=file.file,
        revision=file.revision,
        size=file.size,
        sha256=None,
        expected=file.sha256,
        confirmed=False,
    )


def split_file_error(file: str) -> ModelNotFound:
    """Make the error for a model in several parts."""
    match = SPLIT.search(file)
    parts = int(match[1]) if match else 0
    return ModelNotFound(
        f"{file} is one of {parts} parts, but edgeinfer needs complete files",
        param="model",
        hint="choose a smaller quantization; or download the parts, join them with llama-gguf-split --merge, "
        "and run: edgeinfer models import FILE",
    )
