"""What a hub has of a model: the files by their names, with what the hub says of their content."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase

import msgspec

from edgeinfer.errors import DownloadFailed, EdgeinferError, Forbidden, ModelNotFound
from edgeinfer.hub.endpoint import Endpoint, hub_endpoint
from edgeinfer.hub.retries import MAX_LISTING_ATTEMPTS, RetryState
from edgeinfer.store.catalogue import ModelSpec, QuantFile
from edgeinfer.store.file_name import NO_MODEL, SPLIT, quant_label
from edgeinfer.store.names import file_problem
from edgeinfer.store.progress import NullProgress
from edgeinfer.store.untrusted_json import decode_json


class RemoteFile(msgspec.Struct, frozen=True):
    """A model file that a hub has.

    Attributes:
        name: of the model it is; "" where nobody has given it one.
        file: path in the repository; a pattern where the hub was not asked.
        revision: commit; where the hub was not asked what the catalogue has, such as "main".
        size: bytes, None where nobody says.
        sha256: as the hub says.
        git_sha1: git's hash of the file, for the small ones that have no sha256.
        expected: the sha256 that the catalogue has.
        confirmed: the hub has said so.
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


class _HubLfs(msgspec.Struct):
    sha256: str | None = None
    size: int | None = None


class _HubFile(msgspec.Struct):
    rfilename: str
    size: int | None = None
    blob_id: str | None = msgspec.field(default=None, name="blobId")
    lfs: _HubLfs | None = None


class _HubRepo(msgspec.Struct):
    """The hub's answer about a repository, as far as it matters."""

    sha: str
    siblings: list[_HubFile]


def catalogue_files(
    spec: ModelSpec,
    name: str,
    *,
    revision: str | None = None,
    hub: Endpoint | None = None,
) -> list[RemoteFile]:
    """The files of the catalogue's model `name` that the hub has, in the catalogue's order.

    With a `revision` the catalogue's own and its sha256s don't count. An offline `hub` is not asked:
    then it is what the catalogue has.

    Raises:
        ModelNotFound, Forbidden, DownloadFailed: nothing was found.
    """
    hub = hub or hub_endpoint()
    if hub.offline:
        return [_from_catalogue(name, file) for file in spec.files]
    repos: dict[tuple[str, str], _HubRepo | EdgeinferError] = {}
    found = []
    for file in spec.files:
        place = (file.repo, revision or file.revision)
        if place not in repos:
            try:
                repos[place] = _fetch_repo(hub, *place)
            except (ModelNotFound, Forbidden) as e:  # another may have it, as on a mirror
                repos[place] = e
        repo = repos[place]
        if isinstance(repo, _HubRepo) and (one := _matching_file(repo, file)):
            expected = None if revision else file.sha256
            found.append(_remote_file(name, file.quant, file.repo, repo, one, expected))
    if not found:
        for error in repos.values():
            if isinstance(error, EdgeinferError):
                raise error
        raise ModelNotFound(f"{hub.host} has none of the files of {name}", param="model")
    return found


def repo_files(
    repo: str, *, revision: str = "main", file: str | None = None, hub: Endpoint | None = None
) -> list[RemoteFile]:
    """The model files of any repository, or one of them, by name; quantizations are read from the names.

    Raises:
        ModelNotFound, Forbidden, DownloadFailed.
        Offline: the hub is not to be asked.
    """
    hub = hub or hub_endpoint()
    answer = _fetch_repo(hub, repo, revision)
    models = [f for f in answer.siblings if _is_model(f.rfilename) and file in (None, f.rfilename)]
    whole = [f for f in models if not SPLIT.search(f.rfilename)]
    if not whole:
        if models:
            raise split_file_error(models[0].rfilename)
        what = f"no file {file}" if file else "no GGUF file"
        raise ModelNotFound(f"{repo} has {what}", param="model", hint=f"see {hub.url}/{repo}/tree/main")
    return [_remote_file("", quant_label(f.rfilename), repo, answer, f) for f in whole]


def _fetch_repo(hub: Endpoint, repo: str, revision: str) -> _HubRepo:
    from edgeinfer.hub.connection import HubConnection  # heavy, and the names above are read elsewhere too

    connection = HubConnection(hub)
    said = RetryState(hub, NullProgress().message, MAX_LISTING_ATTEMPTS).call(
        lambda: connection.repo_json(repo, revision)
    )
    try:
        answer = decode_json(said, _HubRepo)
    except ValueError as e:
        raise DownloadFailed(
            f"{hub.host} does not answer as a hub does: {e}", hint=f"HF_ENDPOINT is {hub.url}"
        ) from e
    if not re.fullmatch("[0-9a-f]{40}", answer.sha):
        raise DownloadFailed(f"{hub.host} names no commit of {repo}", hint=f"HF_ENDPOINT is {hub.url}")
    return answer


def _matching_file(repo: _HubRepo, wanted: QuantFile) -> _HubFile | None:
    """The file that the catalogue's name or pattern means: the one with the shortest path, if they are several."""
    pattern = wanted.file.lower()
    found = [
        f
        for f in repo.siblings
        if fnmatchcase(f.rfilename.lower(), pattern)
        and _is_model(f.rfilename)
        and not SPLIT.search(f.rfilename)
    ]
    return min(found, key=lambda f: (len(f.rfilename), f.rfilename), default=None)


def _is_model(file: str) -> bool:
    """Whether it can be one. The hub is not trusted with names: they become paths."""
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
    found = SPLIT.search(file)
    parts = int(found[1]) if found else 0
    return ModelNotFound(
        f"{file} is one of {parts} parts, and edgeinfer takes whole files",
        param="model",
        hint="take a smaller quantization; or fetch the parts, join them by llama-gguf-split --merge, "
        "and: edgeinfer models import FILE",
    )
