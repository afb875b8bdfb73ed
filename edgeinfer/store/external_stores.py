"""Finds models in the stores of other programs: the Hugging Face cache, Ollama and LM Studio.

Their data is not trusted: names and hashes are checked before they become paths.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal, TypeVar

import msgspec

from edgeinfer.gguf.file_types import FILE_TYPES
from edgeinfer.store.disk import files_below
from edgeinfer.store.file_name import is_model_file, name_from_file, quant_from_file
from edgeinfer.store.names import repo_problem
from edgeinfer.store.untrusted_json import decode_json
from edgeinfer.user_folders import cache_folder, home

Source = Literal["hf", "ollama", "lmstudio", "file"]

SHA256 = re.compile("[0-9a-f]{64}")
COMMIT = re.compile("[0-9a-f]{40}")
MODEL_LAYER = "application/vnd.ollama.image.model"
OLLAMA_SERVICE = Path("/usr/share/ollama/.ollama/models")
MAX_JSON_BYTES = 1 << 20

T = TypeVar("T")


class ExternalFile(msgspec.Struct, frozen=True):
    """A model file of another program.

    Attributes:
        name: the name that it would have in our store.
        quant: None if only its header tells.
        sha256: as that program recorded it; None if it did not.
        repo: on the hub, if known.
        revision: commit; known for files of the Hugging Face cache only.
        file: path in the repository.
    """

    source: Source
    path: Path
    name: str
    size: int
    quant: str | None = None
    sha256: str | None = None
    repo: str | None = None
    revision: str | None = None
    file: str | None = None


def hugging_face_cache(environ: Mapping[str, str]) -> Iterator[ExternalFile]:
    """Find models--OWNER--REPO/snapshots/COMMIT/FILE, which link to blobs/SHA256."""
    for repo_dir in _children(_hub_cache(environ)):
        kind, _, folder = repo_dir.name.partition("--")
        repo = folder.replace("--", "/")
        if kind != "models" or repo_problem(repo):
            continue
        seen: set[Path] = set()
        for snapshot in _snapshots(repo_dir):
            for path in files_below(snapshot):
                file = path.relative_to(snapshot).as_posix()
                if is_model_file(file) and (size := _size(path)) and (blob := path.resolve()) not in seen:
                    seen.add(blob)
                    name, quant = name_from_file(path.name, repo), quant_from_file(path.name)
                    sha256 = _sha256_of_link(path)
                    yield ExternalFile("hf", path, name, size, quant, sha256, repo, snapshot.name, file)


def _hub_cache(environ: Mapping[str, str]) -> Path:
    """Locate the cache as huggingface_hub does."""
    if configured := environ.get("HF_HUB_CACHE"):
        return _expanded(configured)
    cache = cache_folder(environ).parent
    return _expanded(environ.get("HF_HOME") or str(cache / "huggingface")) / "hub"


def _expanded(path: str) -> Path:
    """Those programs take the name of nobody as it is, too."""
    return Path(os.path.expanduser(path))  # noqa: PTH111


def _snapshots(repo_dir: Path) -> list[Path]:
    """List the directories of a repository's commits, that of its main branch first."""
    try:
        main = (repo_dir / "refs" / "main").read_text(errors="replace").strip()
    except OSError:
        main = ""
    snapshots = [path for path in _children(repo_dir / "snapshots") if COMMIT.fullmatch(path.name)]
    return sorted(snapshots, key=lambda path: path.name != main)


def _sha256_of_link(path: Path) -> str | None:
    """Return the hash of a large file, which is the name of its blob."""
    if not path.is_symlink():
        return None
    blob = path.readlink()
    return blob.name if blob.parent.name == "blobs" and SHA256.fullmatch(blob.name) else None


class _OllamaLayer(msgspec.Struct):
    digest: str
    kind: str = msgspec.field(default="", name="mediaType")


class _OllamaManifest(msgspec.Struct):
    layers: list[_OllamaLayer]
    config: _OllamaLayer | None = None


class _OllamaConfig(msgspec.Struct):
    file_type: str = ""


def ollama_store(environ: Mapping[str, str]) -> Iterator[ExternalFile]:
    """Find manifests/HOST/OWNER/MODEL/TAG, JSON files that name blobs/sha256-DIGEST."""
    configured = environ.get("OLLAMA_MODELS")
    seen: set[Path] = set()
    for root in (
        _expanded(configured or "/nowhere"),
        home(environ) / ".ollama/models",
        OLLAMA_SERVICE,
    ):
        for path in sorted(files_below(root / "manifests")):
            manifest = _json(path, _OllamaManifest)
            parts = path.relative_to(root / "manifests").parts
            layers = [layer for layer in manifest.layers if layer.kind == MODEL_LAYER] if manifest else []
            if manifest is None or len(parts) != 4 or len(layers) != 1:
                continue
            blob = _blob(root, layers[0])
            if blob and _has_gguf_magic(blob) and (size := _size(blob)) and blob.resolve() not in seen:
                seen.add(blob.resolve())
                yield _ollama_file(blob, size, parts, _config_quant(root, manifest.config))


def _ollama_file(blob: Path, size: int, parts: tuple[str, ...], quant: str | None) -> ExternalFile:
    host, owner, model, tag = parts
    repo = f"{owner}/{model}" if host in ("hf.co", "huggingface.co") else None
    model = re.sub(r"[-_.]gguf$", "", model, flags=re.I)
    file = f"{model}.gguf" if tag == "latest" else f"{model}-{tag}.gguf"
    sha256 = blob.name.removeprefix("sha256-")
    return ExternalFile(
        "ollama", blob, name_from_file(file), size, quant_from_file(file) or quant, sha256, repo
    )


def _blob(root: Path, layer: _OllamaLayer) -> Path | None:
    digest = layer.digest.removeprefix("sha256:")
    return root / "blobs" / f"sha256-{digest}" if SHA256.fullmatch(digest) else None


def _config_quant(root: Path, layer: _OllamaLayer | None) -> str | None:
    path = _blob(root, layer) if layer else None
    config = _json(path, _OllamaConfig) if path else None
    return config.file_type if config and config.file_type in FILE_TYPES.values() else None


def lm_studio_store(environ: Mapping[str, str]) -> Iterator[ExternalFile]:
    """Find OWNER/REPO/FILE; the commit is not known."""
    user_home = home(environ)
    for root in (user_home / ".lmstudio/models", user_home / ".cache/lm-studio/models"):
        for path in files_below(root):
            parts = path.relative_to(root).parts
            if is_model_file(path.name) and (size := _size(path)):
                repo = "/".join(parts[:2]) if len(parts) == 3 else None
                name, quant = name_from_file(path.name, repo), quant_from_file(path.name)
                yield ExternalFile("lmstudio", path, name, size, quant, None, repo, None, path.name)


def _has_gguf_magic(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(4) == b"GGUF"
    except OSError:
        return False


def _json(path: Path, kind: type[T]) -> T | None:
    """Read a small JSON file; None if it is not of that kind."""
    try:
        with path.open("rb") as file:
            return decode_json(file.read(MAX_JSON_BYTES), kind)
    except (OSError, ValueError):
        return None


def _size(path: Path) -> int:
    """Return the size of a file; 0 if there is none."""
    try:
        status = path.stat()
    except OSError:
        return 0
    return status.st_size if stat.S_ISREG(status.st_mode) else 0


def _children(directory: Path) -> list[Path]:
    try:
        return sorted(directory.iterdir())
    except OSError:
        return []
