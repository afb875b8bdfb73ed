"""The local store: model files, and a record of each.

    models/OWNER/REPO/COMMIT/FILE.gguf    whole files alone, as the hub names them
    records/NAME@QUANT.json               what makes a file a model; written last, and atomically
    incoming/OWNER/REPO/COMMIT/           downloads on their way
    locks/

A file without a record is nobody's: that is what a crash leaves at worst, and `prune` frees it. A record of
an imported model has the path of a file elsewhere, which the store reads and never changes.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import quote as percent_encoded

import msgspec
from msgspec import Meta

from edgeinfer.errors import StoreError
from edgeinfer.settings import Settings
from edgeinfer.store.disk import (
    as_store_errors,
    decode_json,
    file_lock,
    files_below,
    fsync_path,
    remove_empty,
    remove_empty_below,
    sha256_of,
)
from edgeinfer.store.names import file_problem, name_problem, repo_problem

SYSTEM_STORE = Path("/var/lib/edgeinfer")
DAEMON_STATE = SYSTEM_STORE / "daemon"
"""Where the system's service writes what it learns, since the store it only reads."""
LOCAL_OWNER = "local"
"""Owner of the repositories of files that come from none."""

LOCK_TIMEOUT = 30.0
"""Seconds to wait for another process that changes the store, which takes milliseconds."""

ABANDONED_AFTER = 24 * 3600.0
"""Seconds without a new byte after which a download is taken for given up."""

Origin = Literal["hub", "import", "quantized"]

logger = logging.getLogger(__name__)


class StoredModel(msgspec.Struct, frozen=True):
    """A model in the store.

    Attributes:
        name: the catalogue's, or one made from the file.
        path: absolute.
        size: bytes.
        sha256: of the content, in hex.
        repo: "OWNER/NAME" on the hub; "local/NAME" for a file that comes from no known one.
        revision: commit, 40 hex digits.
        file: path within the repository.
        origin: "import" lies outside of the store.
        added: seconds since the epoch, as far as the clock was right; a later one is always larger.
        mtime_ns: of an imported file, when it was imported.
        roles: what it is for, where that was read of its header; the catalogue's word goes before.
    """

    name: str
    quant: str
    path: Path
    size: int
    sha256: str
    repo: str
    revision: str
    file: str
    origin: Origin
    added: float = 0.0
    mtime_ns: int | None = None
    roles: tuple[str, ...] | None = None


class _ModelRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """A record file. The path is kept for imports alone: the store can be moved."""

    name: str
    quant: str
    size: Annotated[int, Meta(ge=1)]
    sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
    repo: str
    revision: Annotated[str, Meta(pattern="^[0-9a-f]{40}$")]
    file: str
    origin: Origin
    added: Annotated[float, Meta(ge=0, le=1e11)]
    path: str | None = None
    mtime_ns: int | None = None
    roles: tuple[str, ...] | None = None


def store_root(environ: Mapping[str, str] = os.environ) -> Path:
    """Where models are kept: $EDGEINFER_STORE, else /var/lib/edgeinfer for root and the system service,
    else $XDG_DATA_HOME/edgeinfer.
    """
    if named := environ.get("EDGEINFER_STORE"):
        return _absolute(named)
    state = environ.get("STATE_DIRECTORY", "").split(":")  # set by systemd; a user's service has one too
    if os.geteuid() == 0 or str(SYSTEM_STORE) in state:
        return SYSTEM_STORE
    data = environ.get("XDG_DATA_HOME") or Path(environ.get("HOME", "/root")) / ".local/share"
    return Path(data) / "edgeinfer"


def _absolute(path: str) -> Path:
    return Path(os.path.abspath(Path(path).expanduser()))  # noqa: PTH100  # resolve() would follow links


class Store:
    """The models below `root`, which need not be there yet.

    Reading takes no lock and never fails: what cannot be read is not there. Everything that changes the
    store raises StoreError where it can't, and may be interrupted at any point.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    @classmethod
    def of(cls, settings: Settings) -> Store:
        return cls(_absolute(settings.store) if settings.store else store_root())

    def installed(self) -> list[StoredModel]:
        """Models that can be served, newest last."""
        return [stored for stored in self.recorded() if model_problem(stored) is None]

    def recorded(self) -> list[StoredModel]:
        """All models, newest last; of some the file may be missing or changed, see `problem`."""
        found = (self._read(path) for path in self._record_files())
        return sorted((s for s in found if s), key=lambda stored: (stored.added, stored.name, stored.quant))

    def find(self, name: str, quant: str | None = None) -> StoredModel | None:
        """The newest servable model of that name, in any case; of that quantization, if one is given."""
        found = (s for s in self.installed() if s.name.lower() == name.lower())
        return next(
            (s for s in reversed(list(found)) if quant is None or s.quant.lower() == quant.lower()), None
        )

    def adopt(self, partial: Path, stored: StoredModel) -> StoredModel:
        """Make `partial`, a whole and checked file in `incoming`, the model that `stored` says it is.

        -> `stored` with its path, which is not read. A model of the same name and quantization is replaced;
        its file stays until `prune`, for it may be served.
        """
        path = self._place(stored.repo, stored.revision, stored.file)
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
                found = self._write(msgspec.structs.replace(stored, path=path, mtime_ns=None))
        return found

    def record(self, stored: StoredModel) -> StoredModel:
        """Note the file at `stored.path`, which stays where it is, as an imported model."""
        with as_store_errors(str(stored.path)):
            found = stored.path.stat()
            if not stat.S_ISREG(found.st_mode) or found.st_size != stored.size:
                raise StoreError(f"{stored.path} is no file of {stored.size} bytes")
            with self._changing():
                return self._write(
                    msgspec.structs.replace(stored, origin="import", mtime_ns=found.st_mtime_ns)
                )

    def remove(self, stored: StoredModel) -> int:
        """Forget a model, and delete its file if the store has it. -> bytes freed.

        A daemon that serves the model keeps it: Linux and macOS free a file when the last process lets go.
        """
        with as_store_errors(f"{stored.name}:{stored.quant}"), self._changing():
            record = self._record_file(stored.name, stored.quant)
            path = self._place(stored.repo, stored.revision, stored.file)
            if (now := self._read(record)) and now.path != stored.path:
                raise StoreError(
                    f"{stored.name}:{stored.quant} has been replaced meanwhile", hint="try again"
                )
            record.unlink(missing_ok=True)
            if record.parent.is_dir():
                fsync_path(record.parent)
            if stored.origin == "import":
                return 0
            return 0 if path in {other.path for other in self.recorded()} else self._delete(path)

    def prune(self) -> int:
        """Delete the files that no record names, and downloads that were given up. -> bytes freed.

        Raises:
            StoreError: also where a record cannot be read, for its model's file would be lost.
        """
        freed = 0
        with as_store_errors(str(self.root)), self._changing():
            kept = set()
            for path in self._record_files():
                if (stored := self._read(path)) is None:
                    raise StoreError(
                        f"{path} cannot be read, so its model's file is unknown", hint=f"rm {path}"
                    )
                kept.add(stored.path)
            for path in self._unneeded(kept):
                freed += self._delete(path)
            remove_empty_below(self.root / "incoming", time.time() - ABANDONED_AFTER)
            for path in (self.root / "records").glob("*.tmp"):
                self._delete(path)
        return freed

    def leftovers(self) -> int:
        """Bytes that `prune` would free."""
        size = 0
        for path in self._unneeded({stored.path for stored in self.recorded()}):
            with contextlib.suppress(FileNotFoundError):  # a download has just been done
                size += path.lstat().st_size
        return size

    def _unneeded(self, kept: set[Path]) -> Iterator[Path]:
        """Files that are none of `kept`, and downloads that were given up."""
        for path in files_below(self.root / "models"):
            if path not in kept:
                yield path
        for path in files_below(self.root / "incoming"):
            with contextlib.suppress(FileNotFoundError):
                if path.lstat().st_mtime < time.time() - ABANDONED_AFTER:
                    yield path

    def verify(self, stored: StoredModel, progress: Callable[[int], None] | None = None) -> str | None:
        """Read the whole file again: what is wrong with it, None if nothing is.

        `progress` is told of every piece how many bytes it had.
        """
        if (found := model_problem(stored)) is not None:
            return found
        try:
            digest = sha256_of(stored.path, progress)
        except OSError as e:
            return f"it cannot be read: {e.strerror}"
        return None if digest == stored.sha256 else "its content has changed: the sha256 differs"

    def incoming(self, repo: str, revision: str) -> Path:
        """The directory for partial downloads of one commit; it is made."""
        path = self._directory("incoming", repo, revision)
        with as_store_errors(str(path)):
            path.mkdir(parents=True, exist_ok=True)
            self._check_inside(path)
        return path

    @contextlib.contextmanager
    def lock(self, key: str, wait: float = 0.0) -> Iterator[None]:
        """Keep other processes, and other threads, from holding the same key. It ends with the process.

        Raises:
            StoreBusy: another still held it after `wait` seconds.
        """
        name = percent_encoded(key, safe="")[:200]
        with file_lock(self.root / "locks" / f"{name}.lock", key, wait):
            yield

    def _changing(self) -> contextlib.AbstractContextManager[None]:
        return self.lock("the store", LOCK_TIMEOUT)

    def _directory(self, kind: str, repo: str, revision: str) -> Path:
        if trouble := repo_problem(repo):
            raise StoreError(f"{repo!r}: {trouble}")
        if not re.fullmatch("[0-9a-f]{40}", revision):
            raise StoreError(f"{revision!r} is no commit")
        return self.root / kind / repo / revision[:12]

    def _place(self, repo: str, revision: str, file: str) -> Path:
        """Where a file of the hub belongs. The names are the hub's or a stranger's, so they are checked."""
        if trouble := file_problem(file):
            raise StoreError(f"{file!r}: {trouble}")
        return self._directory("models", repo, revision) / file

    def _record_file(self, name: str, quant: str) -> Path:
        for word in (name, quant):
            if trouble := name_problem(word):
                raise StoreError(f"no model can be called {word!r}: {trouble}")
        return self.root / "records" / f"{name}@{quant}.json"

    def _record_files(self) -> list[Path]:
        try:
            return [p for p in (self.root / "records").iterdir() if p.suffix == ".json"]
        except OSError:
            return []

    def _read(self, path: Path) -> StoredModel | None:
        """None where it is no record: somebody else's, a later version's, or one that was just removed."""
        try:
            record = decode_json(path.read_bytes(), _ModelRecord)
            if path != self._record_file(record.name, record.quant):
                raise StoreError("it is the record of another model")
            place = self._place(record.repo, record.revision, record.file)
            if record.origin == "import":
                place = Path(record.path or "")
                if not place.is_absolute() or "\0" in str(place):
                    raise StoreError("it has no path")
        except FileNotFoundError:
            return None
        except (OSError, ValueError, StoreError) as e:
            logger.warning("%s is left out: %s", path, e)
            return None
        return StoredModel(**msgspec.structs.asdict(record) | {"path": place})

    def _write(self, stored: StoredModel) -> StoredModel:
        """Write a record. The caller has the lock."""
        # A board without a clock of its own may have woken up in the past.
        newest = max((other.added for other in self.recorded()), default=0.0)
        found = msgspec.structs.replace(stored, added=max(time.time(), newest + 0.001))
        fields = msgspec.structs.asdict(found)
        fields["path"] = str(found.path) if found.origin == "import" else None
        try:
            text = msgspec.json.format(msgspec.json.encode(msgspec.convert(fields, _ModelRecord)))
        except (msgspec.ValidationError, UnicodeEncodeError) as e:
            raise StoreError(f"{stored.name}:{stored.quant}: {e}") from e
        path = self._record_file(stored.name, stored.quant)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".tmp")
        temporary.write_bytes(text + b"\n")
        fsync_path(temporary)
        self._share(temporary)
        self._share(path.parent)
        temporary.replace(path)
        fsync_path(path.parent)
        return found

    def _share(self, path: Path) -> None:
        """Let the system service read it, which runs as a user of its own, whatever the umask of root is."""
        if self.root == SYSTEM_STORE:
            path.chmod(0o755 if path.is_dir() else 0o644)

    def _check_inside(self, directory: Path) -> None:
        """Raises StoreError where a symbolic link leads out of the store."""
        if not directory.resolve().is_relative_to(self.root.resolve()):
            raise StoreError(f"{directory} leads out of the store")

    def _delete(self, path: Path) -> int:
        """Delete a file of the store and the directories that it leaves empty. -> bytes freed."""
        self._check_inside(path.parent)
        try:
            size = path.lstat().st_size
        except FileNotFoundError:
            return 0
        path.unlink()
        remove_empty(path.parent, self.root / path.relative_to(self.root).parts[0])
        return size


def model_problem(stored: StoredModel) -> str | None:
    """Why a model cannot be served, as far as a look without reading tells; None where it can."""
    try:
        found = stored.path.stat() if stored.origin == "import" else stored.path.lstat()
    except OSError as e:
        return "its file is missing" if isinstance(e, FileNotFoundError) else f"its file: {e.strerror}"
    changed = found.st_size != stored.size or stored.mtime_ns not in (None, found.st_mtime_ns)
    return "its file has changed" if changed or not stat.S_ISREG(found.st_mode) else None
