"""Lists what a mirror serves: repositories, commits and files, and the hub's JSON for them."""

from __future__ import annotations

import errno
import hashlib
import os
from datetime import datetime, timezone
from pathlib import PurePosixPath
from typing import Any, BinaryIO

import msgspec

from edgeinfer.safetensors.folder import is_folder_file
from edgeinfer.store.catalogue import PACKAGE_DIR
from edgeinfer.store.disk import sha256_of
from edgeinfer.store.store import LOCAL_OWNER, Store
from edgeinfer.store.stored_model import StoredModel, open_model, part_of

BUNDLED_REPO = "edgeinfer/edgeinfer-nano-GGUF"
BUNDLED_FILE = "edgeinfer-nano-Q8_0.gguf"
MAGIC = b"GGUF"


class MirroredFile(StoredModel, frozen=True):
    """A file that is served, with what git would say of it."""

    @property
    def pointer(self) -> bytes:
        """The Git LFS pointer that git stores instead of the file."""
        text = f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.sha256}\nsize {self.size}\n"
        return text.encode()

    @property
    def blob(self) -> str:
        """Git's id of the pointer."""
        return _sha1(b"blob %d\0" % len(self.pointer) + self.pointer)


RepoFiles = dict[str, MirroredFile]
"""The files of one commit, by their path in the repository."""

Commits = dict[str, RepoFiles]
"""The commits of a repository by their hash, newest last."""


def bundled_file() -> MirroredFile:
    """Describe the bundled model's file."""
    path = PACKAGE_DIR / "bundled" / "edgeinfer-nano.gguf"
    status, digest = path.stat(), sha256_of(path)
    return MirroredFile(
        name="edgeinfer-nano",
        quant="Q8_0",
        path=path,
        size=status.st_size,
        sha256=digest,
        repo=BUNDLED_REPO,
        revision=digest[:40],
        file=BUNDLED_FILE,
        origin="import",
        added=status.st_mtime,
    )


def mirrored_repos(store: Store, bundled: MirroredFile) -> dict[str, Commits]:
    """Return the commits of every repository that is served."""
    repos: dict[str, Commits] = {BUNDLED_REPO: {bundled.revision: {BUNDLED_FILE: bundled}}}
    for stored in store.installed():
        served = [part_of(stored, part) for part in stored.parts] or ([stored] if _is_gguf(stored) else [])
        if served:
            commits = repos.setdefault(stored.repo, {})
            files = commits[stored.revision] = commits.pop(stored.revision, {})  # now the newest
            files |= {file.file: MirroredFile(**msgspec.structs.asdict(file)) for file in served}
    return {
        repo: _one_commit(commits) if repo.startswith(LOCAL_OWNER + "/") else commits
        for repo, commits in repos.items()
    }


def _one_commit(commits: Commits) -> Commits:
    """Join files that come from no hub into one commit, whose hash is made from their content."""
    joined = {path: file for files in commits.values() for path, file in files.items()}
    lines = "".join(f"{path} {file.sha256}\n" for path, file in sorted(joined.items()))
    return {_sha1(lines.encode()): joined}


def open_served(stored: StoredModel) -> BinaryIO:
    """Open a model's file; nothing but models is served, regardless of their records.

    Raises:
        OSError: it cannot be opened, is not the one of the record, or is neither a GGUF file nor a part of a folder.
    """
    file = open_model(stored)
    if is_folder_file(stored.file):
        return file
    if os.pread(file.fileno(), len(MAGIC), 0) != MAGIC:
        file.close()
        raise OSError(errno.ENOEXEC, "not a GGUF file", str(stored.path))
    return file


def _is_gguf(stored: StoredModel) -> bool:
    try:
        open_served(stored).close()
    except OSError:
        return False
    return True


def repo_info(repo: str, commit: str, files: RepoFiles, *, blobs: bool = False) -> dict[str, Any]:
    """Return the hub's description of a repository."""
    changed = datetime.fromtimestamp(max(file.added for file in files.values()), timezone.utc)
    return {
        "id": repo,
        "modelId": repo,
        "author": repo.partition("/")[0],
        "sha": commit,
        "lastModified": changed.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "private": False,
        "gated": False,
        "disabled": False,
        "tags": ["safetensors" if any(path.endswith(".safetensors") for path in files) else "gguf"],
        "siblings": [{"rfilename": path} | (_blob(file) if blobs else {}) for path, file in files.items()],
    }


def _blob(file: MirroredFile) -> dict[str, Any]:
    lfs = {"sha256": file.sha256, "size": file.size, "pointerSize": len(file.pointer)}
    return {"size": file.size, "blobId": file.blob, "lfs": lfs}


def tree_entries(files: RepoFiles, top: str = "", *, recursive: bool = False) -> list[dict[str, Any]]:
    """Return the hub's entries below the directory `top`, which is "" for the root."""
    start = f"{top}/" if top else ""
    paths = [path for path in (*_directories(files), *files) if path.startswith(start)]
    return path_entries(files, [path for path in paths if recursive or "/" not in path[len(start) :]])


def path_entries(files: RepoFiles, paths: list[str]) -> list[dict[str, Any]]:
    """Return the hub's entries for those of the `paths` that exist."""
    directories = _directories(files)
    return [
        _entry(path, files[path]) if path in files else _directory(path)
        for path in paths
        if path in files or path in directories
    ]


def _entry(path: str, file: MirroredFile) -> dict[str, Any]:
    lfs = {"oid": file.sha256, "size": file.size, "pointerSize": len(file.pointer)}
    return {"type": "file", "path": path, "size": file.size, "oid": file.blob, "lfs": lfs}


def _directory(path: str) -> dict[str, Any]:
    return {"type": "directory", "path": path, "size": 0, "oid": _sha1(path.encode())}


def _directories(files: RepoFiles) -> list[str]:
    return sorted({str(parent) for path in files for parent in list(PurePosixPath(path).parents)[:-1]})


def _sha1(data: bytes) -> str:
    return hashlib.sha1(data, usedforsecurity=False).hexdigest()
