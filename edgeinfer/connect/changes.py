"""The files that connecting an app changes, and what they were before, so that it can be taken back."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from edgeinfer.connect import config_file
from edgeinfer.connect.config_file import ConfigFile
from edgeinfer.connect.edits import ConfigEdit
from edgeinfer.errors import EdgeinferError
from edgeinfer.user_folders import state_folder

BACKUP = ".before-edgeinfer"


class ConfigChange(msgspec.Struct, frozen=True):
    """A file, and its new content."""

    file: ConfigFile
    new: bytes

    @property
    def changes(self) -> bool:
        return self.file.data != self.new

    def diff(self) -> Iterator[str]:
        """Yield the lines of a unified diff."""
        path = str(self.file.path)
        old = self.file.text.splitlines()
        new = self.new.decode("utf-8-sig").splitlines()
        origin = "/dev/null" if self.file.data is None else path
        yield from difflib.unified_diff(old, new, origin, path, lineterm="")


class Saved(msgspec.Struct, frozen=True):
    """A file that was changed: its content before, None if there was none, and the hash of the one after."""

    path: str
    before: bytes | None
    mode: int
    after: str
    backup: str | None = None


def planned(app: str, edits: Sequence[tuple[Path, ConfigEdit]]) -> list[ConfigChange]:
    """Return what an app's edits would change. Raises EdgeinferError if a file cannot be changed safely."""
    return [_planned(app, path, edit) for path, edit in edits]


def _planned(app: str, path: Path, edit: ConfigEdit) -> ConfigChange:
    try:
        file = config_file.read(config_file.followed(path))
        return ConfigChange(file, file.encoded(edit.applied(file.text)))
    except EdgeinferError as e:
        message = e.message if e.message.startswith(str(path)) else f"{path}: {e.message}"
        hint = e.hint or f"to change it by hand: edgeinfer connect {app} --print"
        raise EdgeinferError(message, hint=hint) from e


class UndoRecord:
    """What one app's files were; only the user can read it."""

    def __init__(self, app: str, state: Path | None = None) -> None:
        self.app = app
        self.path = (state or state_folder()) / "connect" / f"{app}.undo"

    def exists(self) -> bool:
        return self.path.exists()

    def write(self, changes: Sequence[ConfigChange]) -> list[Path]:
        """Write the files, and return the backups beside them.

        Raises:
            EdgeinferError: a file has changed meanwhile, or cannot be written. Those before it are written.
        """
        known = {saved.path: saved for saved in self._read()} if self.exists() else {}
        backups = []
        for change in changes:
            path = change.file.path
            if config_file.read(path).data != change.file.data:
                raise EdgeinferError(f"{path} has changed meanwhile: nothing is written there")
            if not change.changes:
                continue
            saved, backup = self._saved(change, known.get(str(path)))
            known[str(path)] = saved
            config_file.write(self.path, msgspec.msgpack.encode(list(known.values())))
            config_file.write(path, change.new, change.file.mode)
            backups += [backup] if backup else []
        return backups

    def _saved(self, change: ConfigChange, earlier: Saved | None) -> tuple[Saved, Path | None]:
        """A file that nobody has changed since it was connected keeps what it was before that."""
        file, after = change.file, _hash(change.new)
        if earlier and file.data is not None and earlier.after == _hash(file.data):
            return msgspec.structs.replace(earlier, after=after), None
        backup = None
        if file.data is not None:
            backup = _free(file.path.with_name(file.path.name + BACKUP))
            config_file.write(backup, file.data, file.mode)
        return Saved(str(file.path), file.data, file.mode, after, str(backup) if backup else None), backup

    def undo(self, *, force: bool = False) -> list[Path]:
        """Give each file the bytes back that it had, remove those that did not exist, and return them.

        Raises:
            EdgeinferError: a file has changed since, and not `force`; nothing is written then.
        """
        if not self.exists():
            raise EdgeinferError(f"{self.app} has not been connected, or that was undone")
        files = self._read()
        if not force:
            for saved in files:
                now = config_file.read(Path(saved.path)).data
                if now != saved.before and (now is None or _hash(now) != saved.after):
                    raise EdgeinferError(
                        f"{saved.path} has changed since, and that would be lost",
                        hint=f"edgeinfer connect {self.app} --undo --force",
                    )
        for saved in files:
            _restore(saved)
        self.path.unlink()
        return [Path(saved.path) for saved in files]

    def _read(self) -> list[Saved]:
        try:
            return msgspec.msgpack.decode(self.path.read_bytes(), type=list[Saved])
        except (OSError, ValueError, RecursionError) as e:
            raise EdgeinferError(f"{self.path} cannot be read: {e}") from e


def _restore(saved: Saved) -> None:
    path = Path(saved.path)
    if saved.before is None:
        path.unlink(missing_ok=True)
    else:
        config_file.write(path, saved.before, saved.mode)
    if saved.backup and (backup := config_file.read(Path(saved.backup))).data == saved.before:
        backup.path.unlink(missing_ok=True)


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _free(path: Path) -> Path:
    """Return a name that no file has: PATH, PATH.2, PATH.3 …"""
    names = (path, *(path.with_name(f"{path.name}.{number}") for number in range(2, 1000)))
    return next(name for name in names if not name.is_symlink() and not name.exists())
