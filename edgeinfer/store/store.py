"""Stores model files, each with a record that makes it a model.

    models/OWNER/REPO/COMMIT/FILE.gguf    complete files only, named as on the hub; a model in safetensors has several
    records/NAME@QUANT.json               a model's record; written last, and atomically
    incoming/OWNER/REPO/COMMIT/           downloads in progress
    locks/

A crash leaves at worst a file without a record, which `prune` deletes. The record of an imported model names a
file elsewhere, which the store reads and never changes.
"""

from __future__ import annotations

import contextlib
import logging
import re
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote as percent_encoded

from msgspec.structs import asdict, replace

from edgeinfer.errors import StoreError
from edgeinfer.settings import Settings
from edgeinfer.store.disk import (
    as_store_errors,
    file_lock,
    files_below,
    fsync_path,
    remove_empty,
    remove_empty_below,
    sha256_of,
)
from edgeinfer.store.location import SYSTEM_STORE, absolute_path, store_root
from edgeinfer.store.names import file_problem, name_problem, repo_problem
from edgeinfer.store.record import decode_record, encode_record
from edgeinfer.store.stored_model import StoredModel, model_problem, part_of

LOCAL_OWNER = "local"
"""Owner of the repositories that files of unknown origin are listed under."""

LOCK_TIMEOUT = 30.0
"""Seconds to wait for another process that changes the store, which takes milliseconds."""

ABANDONED_AFTER = 24 * 3600.0
"""Seconds without a new byte after which a download counts as abandoned."""

logger = logging.getLogger(__name__)


class Store:
    """Holds the models below `root`, which need not exist yet.

    Reading takes no lock and never fails: what cannot be read is left out. Methods that change the store raise
    StoreError if they fail, and may be interrupted at any point.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    @classmethod
    def of(cls, settings: Settings) -> Store:
        """Return the store that the settings name."""
        return cls(absolute_path(settings.store) if settings.store else store_root())

    def installed(self) -> list[StoredModel]:
        """List the models that can be served, newest last."""
        return [stored for stored in self.recorded() if model_problem(stored) is None]

    def recorded(self) -> list[StoredModel]:
        """List all models, newest last, even if their file is missing or has changed; see `model_problem`."""
        models = (self._read(path) for path in self._record_files())
        return sorted((m for m in models if m), key=lambda stored: (stored.added, stored.name, stored.quant))

    def version(self) -> int | None:
        """Return a number that differs once a record has been added or removed; None if there are no records."""
        try:
            return (self.root / "records").stat().st_mtime_ns
        except OSError:
            return None

    def find(self, name: str, quant: str | None = None) -> StoredModel | None:
        """Return the newest servable model of that name, and quantization if given, in any case.

        Without a quantization, a GGUF file is preferred to a model in safetensors.
        """
        matches = [
            stored
            for stored in reversed(self.installed())
            if stored.name.lower() == name.lower()
            and (quant is None or stored.quant.lower() == quant.lower())
        ]
        return next((stored for stored in matches if not stored.parts), next(iter(matches), None))

    def adopt(self, partial: Path, stored: StoredModel) -> StoredModel:
        """Move `partial`, a complete and verified file in `incoming`, into the store as the model `stored`.

        Returns `stored` with its new path; the path that it has is ignored. A model of the same name and
        quantization is replaced, but its file stays until `prune`, since it may be in use.
        """
        path = self._model_path(stored.repo, stored.revision, stored.file)
        with as_store_errors(f"{stored.name}:{stored.quant}"):
            if (size := partial.lstat().st_size) != stored.size:
                raise StoreError(f"{partial} has {size} bytes, not {stored.size}")
            fsync_path(partial)  # may take long, so it comes before the lock
            with self._changing():
                path.parent.mkdir(parents=True, exist_ok=True)
                self._check_inside(path.parent)
                partial.replace(path)
                self._share(path)
                for directory in (path.parent, *path.parent.parents):
                    self._share(directory)
                    fsync_path(directory)
                    if directory == self.root:
                        break
                return self._write(replace(stored, path=path, mtime_ns=None))

    def adopt_folder(self, folder: Path, stored: StoredModel) -> StoredModel:
        """Move the files of a model in safetensors from `folder` into the store, as `adopt` does with one file."""
        directory = self._directory("models", stored.repo, stored.revision)
        with as_store_errors(f"{stored.name}:{stored.quant}"):
            for part in stored.parts:
                self._model_path(stored.repo, stored.revision, part.file)
                if (size := (folder / part.file).lstat().st_size) != part.size:
                    raise StoreError(f"{folder / part.file} has {size} bytes, not {part.size}")
                fsync_path(folder / part.file)
            with self._changing():
                directory.mkdir(parents=True, exist_ok=True)
                self._check_inside(directory)
                for part in stored.parts:
                    (folder / part.file).replace(directory / part.file)
                    self._share(directory / part.file)
                for above in (directory, *directory.parents):
                    self._share(above)
                    fsync_path(above)
                    if above == self.root:
                        break
                return self._write(replace(stored, path=directory, mtime_ns=None))

    def record(self, stored: StoredModel) -> StoredModel:
        """Record the file at `stored.path`, or the files of its parts, which stay where they are, as an imported model."""
        with as_store_errors(str(stored.path)):
            if stored.parts:
                with self._changing():
                    return self._write(replace(stored, origin="import", mtime_ns=None))
            status = stored.path.stat()
            if not stat.S_ISREG(status.st_mode) or status.st_size != stored.size:
                raise StoreError(f"{stored.path} is not a file of {stored.size} bytes")
            with self._changing():
                return self._write(replace(stored, origin="import", mtime_ns=status.st_mtime_ns))

    def remove(self, stored: StoredModel) -> int:
        """Remove a model, and its file unless it was imported; return the bytes freed.

        A daemon that serves the model keeps it: Linux and macOS free a file when its last user closes it.
        """
        with as_store_errors(f"{stored.name}:{stored.quant}"), self._changing():
            record = self._record_file(stored.name, stored.quant)
            if (current := self._read(record)) and current.path != stored.path:
                raise StoreError(
                    f"{stored.name}:{stored.quant} has been replaced in the meantime", hint="try again"
                )
            record.unlink(missing_ok=True)
            if record.parent.is_dir():
                fsync_path(record.parent)
            if stored.origin == "import":
                return 0
            needed = {path for other in self.recorded() for path in _files(other)}
            return sum(self._delete(path) for path in _files(stored) if path not in needed)

    def prune(self) -> int:
        """Delete files without a record and abandoned downloads; return the bytes freed.

        Raises:
            StoreError: also if a record cannot be read, since its model's file would be deleted.
        """
        freed = 0
        with as_store_errors(str(self.root)), self._changing():
            model_files = set()
            for path in self._record_files():
                if (stored := self._read(path)) is None:
                    raise StoreError(
                        f"{path} cannot be read, so its model's file is unknown", hint=f"rm {path}"
                    )
                model_files.update(_files(stored))
            for path in self._unneeded(model_files):
                freed += self._delete(path)
            remove_empty_below(self.root / "incoming", time.time() - ABANDONED_AFTER)
            for path in (self.root / "records").glob("*.tmp"):
                self._delete(path)
        return freed

    def leftovers(self) -> int:
        """Return the bytes that `prune` would free."""
        size = 0
        for path in self._unneeded({path for stored in self.recorded() for path in _files(stored)}):
            with contextlib.suppress(FileNotFoundError):  # a download has just finished
                size += path.lstat().st_size
        return size

    def _unneeded(self, model_files: set[Path]) -> Iterator[Path]:
        """Find files that are not among `model_files`, and abandoned downloads."""
        for path in files_below(self.root / "models"):
            if path not in model_files:
                yield path
        for path in files_below(self.root / "incoming"):
            with contextlib.suppress(FileNotFoundError):
                if path.lstat().st_mtime < time.time() - ABANDONED_AFTER:
                    yield path

    def verify(self, stored: StoredModel, progress: Callable[[int], None] | None = None) -> str | None:
        """Read the whole file and compare its hash; return what is wrong with it, or None.

        `progress` is called with the size of each piece read.
        """
        if (problem := model_problem(stored)) is not None:
            return problem
        if stored.parts:
            checked = ((part.file, self.verify(part_of(stored, part), progress)) for part in stored.parts)
            return next((f"{file}: {problem}" for file, problem in checked if problem), None)
        try:
            digest = sha256_of(stored.path, progress)
        except OSError as e:
            return f"it cannot be read: {e.strerror}"
        return None if digest == stored.sha256 else "its content has changed: the sha256 differs"

    def incoming(self, repo: str, revision: str) -> Path:
        """Create and return the directory for partial downloads of one commit."""
        path = self._directory("incoming", repo, revision)
        with as_store_errors(str(path)):
            path.mkdir(parents=True, exist_ok=True)
            self._check_inside(path)
        return path

    @contextlib.contextmanager
    def lock(self, key: str, wait: float = 0.0) -> Iterator[None]:
        """Hold `key` against all other processes and threads. A lock ends with its process.

        Raises:
            StoreBusy: it was still held elsewhere after `wait` seconds.
        """
        name = percent_encoded(key, safe="")[:200]
        with file_lock(self.root / "locks" / f"{name}.lock", key, wait):
            yield

    def _changing(self) -> contextlib.AbstractContextManager[None]:
        return self.lock("the store", LOCK_TIMEOUT)

    def _directory(self, kind: str, repo: str, revision: str) -> Path:
        if problem := repo_problem(repo):
            raise StoreError(f"{repo!r}: {problem}")
        if not re.fullmatch("[0-9a-f]{40}", revision):
            raise StoreError(f"{revision!r} is not a commit")
        return self.root / kind / repo / revision[:12]

    def _model_path(self, repo: str, revision: str, file: str) -> Path:
        """Return where a file of the hub belongs, after checking its names: they are not trusted."""
        if problem := file_problem(file):
            raise StoreError(f"{file!r}: {problem}")
        return self._directory("models", repo, revision) / file

    def _record_file(self, name: str, quant: str) -> Path:
        for word in (name, quant):
            if problem := name_problem(word):
                raise StoreError(f"{word!r} cannot be the name of a model: {problem}")
        return self.root / "records" / f"{name}@{quant}.json"

    def _record_files(self) -> list[Path]:
        try:
            return [p for p in (self.root / "records").iterdir() if p.suffix == ".json"]
        except OSError:
            return []

    def _read(self, path: Path) -> StoredModel | None:
        """Read a record; None if it is invalid, of a later version, or has just been removed."""
        try:
            record = decode_record(path.read_bytes())
            if path != self._record_file(record.name, record.quant):
                raise StoreError("it is the record of another model")
            model_path = self._model_path(record.repo, record.revision, record.file)
            if record.parts:
                for part in record.parts:
                    self._model_path(record.repo, record.revision, part.file)
                model_path = model_path.parent
            if record.origin == "import":
                model_path = Path(record.path or "")
                if not model_path.is_absolute() or "\0" in str(model_path):
                    raise StoreError("it has no path")
        except FileNotFoundError:
            return None
        except (OSError, ValueError, StoreError) as e:
            logger.warning("%s is ignored: %s", path, e)
            return None
        return StoredModel(**asdict(record) | {"path": model_path})

    def _write(self, stored: StoredModel) -> StoredModel:
        """Write the record of a model. The caller has the lock."""
        # A board without a battery-backed clock may have started in the past.
        newest = max((other.added for other in self.recorded()), default=0.0)
        stored = replace(stored, added=max(time.time(), newest + 0.001))
        data = encode_record(stored)
        path = self._record_file(stored.name, stored.quant)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".tmp")
        temporary.write_bytes(data)
        fsync_path(temporary)
        self._share(temporary)
        self._share(path.parent)
        temporary.replace(path)
        fsync_path(path.parent)
        return stored

    def _share(self, path: Path) -> None:
        """Let the system service, which has its own user, read a path regardless of root's umask."""
        if self.root == SYSTEM_STORE:
            path.chmod(0o755 if path.is_dir() else 0o644)

    def _check_inside(self, directory: Path) -> None:
        """Raise StoreError if a symbolic link leads out of the store."""
        if not directory.resolve().is_relative_to(self.root.resolve()):
            raise StoreError(f"{directory} leads out of the store")

    def _delete(self, path: Path) -> int:
        """Delete a file of the store and the directories that it leaves empty; return the bytes freed."""
        self._check_inside(path.parent)
        try:
            size = path.lstat().st_size
        except FileNotFoundError:
            return 0
        path.unlink()
        remove_empty(path.parent, self.root / path.relative_to(self.root).parts[0])
        return size


def _files(stored: StoredModel) -> list[Path]:
    """List the files of a model."""
    return [stored.path / part.file for part in stored.parts] or [stored.path]
