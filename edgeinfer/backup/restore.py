"""Restores a backup: everything is checked and laid ready before the first thing changes.

Models come first: they are added beside those that are there. Then the new settings, keys and responses take the places
of the old ones by renaming. If one of these renames fails, those before it are undone.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import stat
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO

import msgspec

from edgeinfer import settings
from edgeinfer.backup.create import is_published
from edgeinfer.backup.daemon_files import FOLDERS, DaemonFiles, daemon_files
from edgeinfer.backup.manifest import (
    CONFIG,
    KEYS,
    MANIFEST,
    MAX_MANIFEST,
    BackupFile,
    Manifest,
    decode_manifest,
    model_files,
)
from edgeinfer.errors import BackupError
from edgeinfer.gguf.header import read_header
from edgeinfer.safetensors.folder import read_folder, read_tokenizer
from edgeinfer.server.auth.key_file import parsed
from edgeinfer.store.disk import CHUNK, as_store_errors, fsync_path
from edgeinfer.store.free_space import check_free_space
from edgeinfer.store.record import ModelRecord
from edgeinfer.store.store import Store
from edgeinfer.store.stored_model import StoredModel, StoredPart

OLD = ".before-restore"
"""Added to the name of what a restored file or folder has replaced."""

ProgressOf = Callable[[ModelRecord], Callable[[int], None]]


def read_manifest(path: Path) -> Manifest:
    """Return what is in a backup.

    Raises:
        BackupError: it is not one, or damaged.
    """
    with _opened(path) as archive:
        return _manifest(archive)


def restore_backup(
    path: Path,
    config: Path,
    *,
    fetch: Callable[[ModelRecord, Store], None] | None = None,
    progress: ProgressOf = lambda _: lambda _: None,
) -> DaemonFiles:
    """Restore a backup; its settings go to the file `config`, and say where the rest goes.

    `fetch` gets a model from the hub into the store; without it, those that the backup does not have are left out.

    Raises:
        BackupError: it is damaged, or a file cannot be written. Settings, keys and responses are as before.
        EdgeinferError: a model cannot be had. The same holds.
    """
    with contextlib.ExitStack() as stack:
        archive = stack.enter_context(_opened(path))
        manifest = _manifest(archive)
        staging = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="edgeinfer-restore-")))
        _unpack(archive, manifest, staging)
        where = _daemon_files(staging / CONFIG, config)
        _check(staging, where)
        _restore_models(archive, manifest, where.store, fetch, progress)
        _replace_all(_replacements(staging, manifest, where))
    return where


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[tarfile.TarFile]:
    try:
        with path.open("rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise BackupError(f"{path} is not a file")
            with tarfile.open(fileobj=file, mode="r:") as archive:
                yield archive
    except (tarfile.TarError, EOFError, ValueError) as e:
        raise BackupError(f"{path} is not a complete backup: {e}") from e
    except OSError as e:
        raise BackupError(f"{e.filename or path}: {e.strerror or e}") from e


def _manifest(archive: tarfile.TarFile) -> Manifest:
    head = archive.next()
    if head is None or head.name != MANIFEST or not head.isreg() or head.size > MAX_MANIFEST:
        raise BackupError(f"this is not a backup of edgeinfer: it does not begin with {MANIFEST}")
    return decode_manifest(_content(archive, head).read())


def _content(archive: tarfile.TarFile, head: tarfile.TarInfo) -> IO[bytes]:
    content = archive.extractfile(head)
    if content is None:
        raise BackupError(f"{head.name} in the backup is not a file")
    return content


def _next(archive: tarfile.TarFile, name: str, size: int) -> IO[bytes]:
    """Return the content of the next file, which must be this one: the archive has no say in where it goes."""
    head = archive.next()
    if head is None:
        raise BackupError(f"the backup ends before {name}")
    if not head.isreg() or head.issparse() or (head.name, head.size) != (name, size):
        raise BackupError(f"the backup has {head.name!r} where its {MANIFEST} has {name} with {size} bytes")
    return _content(archive, head)


def _unpack(archive: tarfile.TarFile, manifest: Manifest, staging: Path) -> None:
    check_free_space(staging, sum(file.size for file in manifest.files))
    for file in manifest.files:
        target = staging / file.name
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        content = _next(archive, file.name, file.size).read()
        if len(content) != file.size or hashlib.sha256(content).hexdigest() != file.sha256:
            raise BackupError(f"{file.name} in the backup is damaged")
        target.write_bytes(content)


def _daemon_files(unpacked: Path, config: Path) -> DaemonFiles:
    """Return where things are on this machine by the settings of the backup; without those, by its own."""
    source = unpacked if unpacked.exists() else config
    environ = {**os.environ, settings.ENV_PREFIX + "CONFIG": str(source if source.exists() else os.devnull)}
    return daemon_files(config, settings.load(environ=environ).settings, environ)


def _check(staging: Path, where: DaemonFiles) -> None:
    """Refuse keys that no daemon would take."""
    keys = staging / KEYS
    if not keys.exists():
        return
    if where.keys is None:
        raise BackupError("the backup has keys, but its settings say that there are none (api_key_file)")
    try:
        _, bad = parsed(keys.read_text(encoding="utf-8-sig").splitlines())
    except UnicodeDecodeError as e:
        raise BackupError(f"the keys in the backup are damaged: {e.reason}") from e
    if bad:
        raise BackupError(f"the keys in the backup are damaged: {bad[0]}")


def _restore_models(
    archive: tarfile.TarFile,
    manifest: Manifest,
    store: Store,
    fetch: Callable[[ModelRecord, Store], None] | None,
    progress: ProgressOf,
) -> None:
    """Add the models, in the order in which they were installed; the archive has the copied ones at its end."""
    by_hash = {record.sha256: record for record in manifest.models}
    copies: dict[str, Path] = {}
    try:
        for sha256 in manifest.copied:
            record = by_hash[sha256]
            present, begun = _present(record, store), progress(record)
            for name, part in model_files(record):
                content = _next(archive, name, part.size)
                if not present:
                    if sha256 not in copies:
                        copies[sha256] = _incoming(record, store)
                    _copy(copies[sha256], part, content, begun)
            if not present:
                _check_model(record, copies[sha256])
        for record in manifest.models:
            if not _present(record, store):
                _restore_model(record, copies.get(record.sha256), store, fetch)
    finally:
        _remove(copies.values())


def _restore_model(
    record: ModelRecord,
    copy: Path | None,
    store: Store,
    fetch: Callable[[ModelRecord, Store], None] | None,
) -> None:
    if copy:
        _adopt(record, copy, store)
    elif fetch and is_published(_model(record, Path("/"))):
        fetch(record, store)
        if not _present(record, store):
            title = f"{record.name}:{record.quant}"
            raise BackupError(
                f"{title} is another model here than in the backup",
                hint=f"edgeinfer models rm {title}, or restore --without-models",
            )


def _present(record: ModelRecord, store: Store) -> bool:
    found = store.find(record.name, record.quant)
    return found is not None and found.sha256 == record.sha256


def _model(record: ModelRecord, path: Path) -> StoredModel:
    # What was imported becomes the store's own: the file that it was may be another's here.
    fields = {**msgspec.structs.asdict(record), "path": path, "mtime_ns": None}
    return StoredModel(**{**fields, "origin": "hub" if record.origin == "import" else record.origin})


def _incoming(record: ModelRecord, store: Store) -> Path:
    """Make the folder for a model's files, as for a download in progress."""
    folder = store.incoming(record.repo, record.revision)
    check_free_space(folder, record.size)
    return folder / f"{record.sha256}.restore"


def _copy(folder: Path, part: StoredPart, content: IO[bytes], progress: Callable[[int], None]) -> None:
    """Write a file into a folder, and check it."""
    digest, target = hashlib.sha256(), folder / Path(part.file).name
    with as_store_errors(str(target)):
        folder.mkdir(exist_ok=True)
        with target.open("wb") as file:
            while piece := content.read(CHUNK):
                digest.update(piece)
                file.write(piece)
                progress(len(piece))
    if digest.hexdigest() != part.sha256:
        raise BackupError(f"{target.name} in the backup is damaged")


def _check_model(record: ModelRecord, folder: Path) -> None:
    """Refuse what no daemon could load. Raises ModelLoadFailed."""
    if record.parts:
        read_folder(folder)
        read_tokenizer(folder)
    else:
        read_header(folder / Path(record.file).name)


def _adopt(record: ModelRecord, folder: Path, store: Store) -> None:
    """Make a model of copies, which stay for other names of it."""
    links = folder.with_suffix(".links")
    with as_store_errors(str(links)):
        _remove([links])
        links.mkdir()
        try:
            for path in folder.iterdir():
                os.link(path, links / path.name)
            if record.parts:
                store.adopt_folder(links, _model(record, links))
            else:
                link = links / Path(record.file).name
                store.adopt(link, _model(record, link))
        finally:
            _remove([links])


Replacement = tuple[Path, Path]
"""What is laid ready in the target's folder, and the target."""


def _replacements(staging: Path, manifest: Manifest, where: DaemonFiles) -> list[Replacement]:
    """Lay everything ready beside its target; nothing is left if that fails."""
    files = {file.name: file for file in manifest.files}
    ready: list[Replacement] = []
    try:
        if CONFIG in files:
            ready.append(_lay_ready(staging / CONFIG, where.config, 0o644))  # for the service's user
        if KEYS in files and where.keys:
            ready.append(_lay_ready(staging / KEYS, where.keys, 0o600))
        for kind in FOLDERS:
            folder = where.responses.get(kind) or where.responses[FOLDERS[0]]
            if (staging / "responses" / kind).is_dir():
                ready.append(_lay_folder_ready(staging / "responses" / kind, folder, files, kind))
    except BaseException:
        _remove(path for path, _ in ready)
        raise
    if len({target for _, target in ready}) < len(ready):
        _remove(path for path, _ in ready)
        raise BackupError(
            "the backup has responses of the system's service and of its root", hint="restore it as root"
        )
    return ready


def _lay_ready(source: Path, target: Path, mode: int) -> Replacement:
    target = target.resolve()  # a link stays a link
    target.parent.mkdir(mode=0o755 if mode & 0o044 else 0o700, parents=True, exist_ok=True)
    exists = target.exists()
    like = target.stat() if exists else target.parent.stat()
    mode = stat.S_IMODE(like.st_mode) & mode if exists else mode
    descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    with os.fdopen(descriptor, "wb") as file:
        if os.geteuid() == 0:
            os.fchown(descriptor, like.st_uid, like.st_gid)
        os.fchmod(descriptor, mode)
        file.write(source.read_bytes())
        file.flush()
        os.fsync(descriptor)
    return Path(name), target


def _lay_folder_ready(source: Path, target: Path, files: dict[str, BackupFile], kind: str) -> Replacement:
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    like = target.parent.stat()
    folder = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))  # mode 0700
    for path in source.iterdir():
        copy = folder / path.name
        copy.touch(0o600)
        copy.write_bytes(path.read_bytes())
        mtime = files[f"responses/{kind}/{path.name}"].mtime
        os.utime(copy, (mtime, mtime))
    if os.geteuid() == 0:
        for path in (folder, *folder.iterdir()):
            os.chown(path, like.st_uid, like.st_gid)
    fsync_path(folder)
    return folder, target


def _replace_all(ready: Sequence[Replacement]) -> None:
    """Put everything into its place; what was there gets another name. If one fails, all are as before."""
    done: list[Path] = []
    try:
        for path, target in ready:
            old = _old(target)
            _remove([old])
            if target.is_dir():
                target.rename(old)
            elif target.exists():
                os.link(target, old)  # so that there is a file all the time
            done.append(target)
            path.replace(target)
            fsync_path(target.parent)
    except BaseException:
        for target in reversed(done):
            if _old(target).is_dir():
                _remove([target])
            if os.path.lexists(_old(target)):
                _old(target).replace(target)
            else:
                _remove([target])
        _remove(path for path, _ in ready)
        raise


def _old(target: Path) -> Path:
    return target.with_name(target.name + OLD)


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
