"""Keeps installed releases in a folder, one of which is the current one.

    PREFIX/releases/NAME/    a virtual environment; complete if it has the file `complete`
    PREFIX/current           a link to one of them; the only thing that changes during an upgrade

A release never moves, since its programs contain its path. A service runs one release until it is upgraded itself.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from bundle import InstallError

COMPLETE = "complete"
SERVICE_SCRIPT = b"#!/bin/sh\n# Written by `edgeinfer service install`"
"""Begins the command that `edgeinfer service install` writes."""


class Releases:
    def __init__(self, prefix: Path) -> None:
        self.prefix = prefix
        self._folder = prefix / "releases"
        self._link = prefix / "current"

    @property
    def current(self) -> Path | None:
        """The release in use, if it is complete."""
        release = self._link.resolve()
        return release if self._link.is_symlink() and (release / COMPLETE).is_file() else None

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Make the folder, and keep other installations out of it.

        Raises:
            InstallError: it cannot be written, is in use, or has something else in it.
        """
        if self.prefix.is_dir() and not self._folder.is_dir() and any(self.prefix.iterdir()):
            raise InstallError(
                f"{self.prefix} has something else in it", "./install --prefix DIR takes another"
            )
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self.prefix / ".lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as e:
                raise InstallError("another installation is running", "wait for it") from e
            yield

    @contextlib.contextmanager
    def new(self, name: str) -> Iterator[Path]:
        """Yield an empty folder for a release, which becomes the current one at the end, or is removed."""
        path = self._folder / name
        number = 1
        while path == self.current:  # it is damaged, but a service may still run it
            number += 1
            path = self._folder / f"{name}.{number}"
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir()
        try:
            yield path
            with (path / COMPLETE).open("w") as file:
                os.fsync(file.fileno())
            os.sync()  # thousands of files; the link must not survive a power cut without them
            self._switch(path)
        except BaseException:
            shutil.rmtree(path, ignore_errors=True)
            raise

    def _switch(self, release: Path) -> None:
        link = self.prefix / "current.new"
        link.unlink(missing_ok=True)
        link.symlink_to(release.relative_to(self.prefix))
        link.replace(self._link)
        with contextlib.suppress(OSError):  # not every file system can
            folder = os.open(self.prefix, os.O_RDONLY)
            os.fsync(folder)
            os.close(folder)

    def remove_others(self, keep: Path | None) -> None:
        """Remove all releases but the current one and `keep`."""
        for path in self._folder.iterdir():
            if path not in (self.current, keep):
                shutil.rmtree(path, ignore_errors=True)

    def link_command(self, path: Path) -> str:
        """Put the command at `path`, unless another program is there; return what to say about it."""
        command = self._link / "bin/edgeinfer"
        if not self._may_replace(path):
            return f"{path} is another program, and was left alone; this one is {command}"
        path.parent.mkdir(parents=True, exist_ok=True)
        link = path.with_name(f".{path.name}.new")
        link.unlink(missing_ok=True)
        link.symlink_to(command)
        link.replace(path)
        if str(path.parent) not in os.environ.get("PATH", "").split(":"):
            return f"the command is {path}; {path.parent} is not on your PATH yet: log in again, or add it"
        return f"the command is {path}"

    def _may_replace(self, path: Path) -> bool:
        if path.is_symlink():
            return path.readlink() == self._link / "bin/edgeinfer" or not path.exists()
        try:
            with path.open("rb") as file:
                return file.read(len(SERVICE_SCRIPT)) == SERVICE_SCRIPT
        except FileNotFoundError:
            return True
        except OSError:
            return False
