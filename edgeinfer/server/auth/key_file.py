"""Reads the file of API keys again whenever it has changed; `edgeinfer key` edits it."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import stat
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from edgeinfer import user_folders
from edgeinfer.errors import SettingsError
from edgeinfer.server import audit
from edgeinfer.server.auth.keys import Key, Keys, parse_line
from edgeinfer.settings import Settings

SYSTEM = Path("/var/lib/edgeinfer")
"""The state directory of the system service."""

PARAM = "api_key_file"

DESCRIPTORS = ("/dev/fd/", "/proc/self/fd/")
"""Where a shell puts the pipe of a process substitution, whose other end is there."""

logger = logging.getLogger(__name__)


def default_path(environ: Mapping[str, str] = os.environ) -> Path:
    """The default file: /var/lib/edgeinfer/keys for root and the system service, else in $XDG_CONFIG_HOME/edgeinfer."""
    if os.geteuid() == 0 or str(SYSTEM) in environ.get("STATE_DIRECTORY", "").split(":"):
        return SYSTEM / "keys"
    return user_folders.config_folder(environ) / "keys"


def key_file(settings: Settings, environ: Mapping[str, str] = os.environ) -> str | None:
    """The file of the keys that requests need; None if they need none.

    The default file is used if it exists, unless `api_key_file` is empty.
    """
    if settings.api_key_file is not None:
        return settings.api_key_file or None
    path = default_path(environ)
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:
        pass  # it exists, and opening it will show the error
    return str(path)


class KeyFile:
    """The keys of a file, which is read again when its status has changed.

    Raises SettingsError at first if it cannot be read, has a bad line, or holds no key. Later errors go to the log: bad
    lines are skipped, and no key is valid once the file is gone; while it cannot be read, its last keys stay valid.
    `own` is valid besides, whatever the file says.
    """

    def __init__(self, path: Path, own: Key | None = None) -> None:
        self.path = path
        self._own = [own] if own else []
        try:
            self._stamp: tuple[int, ...] | None = _stamp(path)
            keys, bad = read(path)
        except (OSError, UnicodeDecodeError) as e:
            raise SettingsError(f"{PARAM} {path}: {e}", param=PARAM, hint=_key_hint(path)) from e
        if bad:
            raise SettingsError(f"{PARAM} {path}: {bad[0]}", param=PARAM)
        if not keys:
            raise SettingsError(f"{PARAM} {path} holds no key", param=PARAM, hint=_key_hint(path))
        self._keys = Keys([*keys, *self._own])
        self._reported: tuple[int, ...] | None = None
        warn_of_readers(path)

    @property
    def keys(self) -> Keys:
        try:
            stamp = _stamp(self.path)
        except OSError:
            stamp = None
        if stamp != self._stamp:
            self._reload(stamp)
        return self._keys

    def accept(self, presented: bytes) -> bool:
        """True if `presented` is one of the keys."""
        return self.keys.find(presented) is not None

    def _reload(self, stamp: tuple[int, ...] | None) -> None:
        keys: list[Key] = []
        if stamp is not None:
            try:
                keys, bad = read(self.path)
            except (OSError, UnicodeDecodeError) as e:
                if stamp != self._reported:
                    logger.error("%s: %s; its last keys stay valid", self.path, e)
                self._reported = stamp  # only once, although each request tries again
                return
            for problem in bad:
                logger.error("%s: %s; the line is ignored", self.path, problem)
            warn_of_readers(self.path)
        if not keys:
            hint = _key_hint(self.path)
            logger.error("%s holds no key any more: all requests are refused; hint: %s", self.path, hint)
        self._stamp = stamp
        _audit(self._keys.all, [*keys, *self._own])
        self._keys = Keys([*keys, *self._own])


def read(path: Path) -> tuple[list[Key], list[str]]:
    """The keys in a file, and the problems of its other lines.

    Raises:
        OSError: it cannot be read. A pipe with a name is refused: opening it would wait for someone who writes.
        UnicodeDecodeError: it is not UTF-8.
    """
    if stat.S_ISFIFO(path.stat().st_mode) and not str(path).startswith(DESCRIPTORS):
        raise OSError(errno.EINVAL, "it is a pipe, not a file")
    return parsed(path.read_text(encoding="utf-8-sig").splitlines())


def parsed(lines: Sequence[str]) -> tuple[list[Key], list[str]]:
    """The keys in a file's lines, and the problems of the other lines."""
    parsed = [parse_line(line, number) for number, line in enumerate(lines, 1)]
    return [one for one in parsed if isinstance(one, Key)], [one for one in parsed if isinstance(one, str)]


def without(lines: Sequence[str], name: str) -> list[str]:
    """A file's lines, except those of keys with this name."""
    parsed = [(parse_line(line, number), line) for number, line in enumerate(lines, 1)]
    return [line for key, line in parsed if not (isinstance(key, Key) and key.name == name)]


@contextlib.contextmanager
def editing(path: Path) -> Iterator[list[str]]:
    """Lock the file and yield its lines; what the caller changes is written at the end, completely or not at all.

    Raises:
        SettingsError: the file cannot be read or written.
    """
    path = path.resolve()  # a link stays a link
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _locked(path.parent):
            lines = path.read_text(encoding="utf-8-sig").splitlines() if path.exists() else []
            before = list(lines)
            yield lines
            if lines != before:
                _replace(path, "".join(f"{line}\n" for line in lines))
    except (OSError, UnicodeDecodeError) as e:
        hint = "try again with sudo" if isinstance(e, PermissionError) else None
        raise SettingsError(f"{PARAM} {path}: {e}", param=PARAM, hint=hint) from e


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with contextlib.suppress(OSError):  # some network file systems have no locks for folders
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _replace(path: Path, text: str) -> None:
    """Write `text` to `path`, keeping owner and mode; a new file gets its folder's owner, and mode 0600."""
    exists = path.exists()
    like = path.stat() if exists else path.parent.stat()
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w") as file:
            if os.geteuid() == 0:
                os.fchown(descriptor, like.st_uid, like.st_gid)
            os.fchmod(descriptor, stat.S_IMODE(like.st_mode) & 0o640 if exists else 0o600)
            file.write(text)
            file.flush()
            os.fsync(descriptor)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _stamp(path: Path) -> tuple[int, ...]:
    # Every change of a file's content changes its ctime, which cannot be set back.
    status = path.stat()
    return status.st_dev, status.st_ino, status.st_ctime_ns, status.st_size


def _key_hint(path: Path) -> str:
    return f"edgeinfer key add NAME --api-key-file {path}"


def warn_of_readers(path: Path) -> None:
    """Log it if other users can read the keys in a file."""
    with contextlib.suppress(OSError):
        if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            logger.warning("other users can read the keys in %s; hint: chmod 600 %s", path, path)


def _audit(before: tuple[Key, ...], now: list[Key]) -> None:
    """Log each difference."""
    old, new = ({key.digest: key for key in keys} for keys in (before, now))
    for digest in old.keys() | new.keys():
        if digest not in new:
            audit.record("key removed", name=old[digest].name)
        elif digest not in old:
            audit.record("key added", name=new[digest].name)
        elif old[digest] != new[digest]:
            audit.record("key changed", name=new[digest].name)
