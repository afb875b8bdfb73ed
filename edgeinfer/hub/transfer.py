"""Transfers one file from a hub: resumed, limited in size, and hashed as it arrives."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from edgeinfer.errors import DiskFull, DownloadFailed, HashMismatch
from edgeinfer.hub.connection import HubConnection, content_start
from edgeinfer.hub.hub_index import RemoteFile
from edgeinfer.hub.retries import RangeRefused, RetryableError, RetryState
from edgeinfer.store.free_space import check_free_space, disk_full_error
from edgeinfer.store.progress import Progress, size_text

READ_BYTES = 1 << 20
MAX_RANGE_REFUSALS = 2
"""Refusals in a row after which a file is downloaded from its start. One may be a proxy's hiccup."""

MAX_RESTARTS = 3
"""Downloads from the start in one run, at a server that neither continues within a file nor sends it whole."""

MIN_PROGRESS_BYTES = 1 << 16
"""An attempt that brings less counts as failed, so a server that sends a byte at a time does not go on for ever."""


class FileContent(msgspec.Struct, frozen=True):
    """The size in bytes and the hash that a file must have: sha256, or git's sha1, in hex."""

    size: int
    sha256: str | None
    git_sha1: str | None = None

    @property
    def digest(self) -> str:
        return self.sha256 or self.git_sha1 or ""


class Transfer:
    """Downloads one file of a repository to `partial`.

    If it fails, `partial` either holds the beginning of the file, for the next attempt to continue, or is deleted.
    """

    def __init__(
        self,
        connection: HubConnection,
        remote: RemoteFile,
        content: FileContent,
        partial: Path,
        progress: Progress,
    ) -> None:
        self._connection, self._content, self._partial = connection, content, partial
        self._remote = remote
        self._progress = progress
        self._received = 0
        self._hashes = _ContentHashes(content)

    def run(self) -> str:
        """Download the file, and return its sha256.

        Raises:
            HashMismatch: the bytes were wrong twice.
            DownloadFailed, DiskFull, EdgeinferError: see there.
        """
        for attempt in (1, 2):
            try:
                with self._partial.open("a+b", buffering=0) as file:
                    self._complete(file)
            except OSError as e:
                raise self._write_error(e) from e
            if self._hashes.digest() == self._content.digest:
                return self._hashes.sha256.hexdigest()
            self._partial.unlink()
            if attempt == 1:
                self._progress.message("the hash of the file is wrong; downloading it again from the start")
        raise HashMismatch(
            f"{self._remote.file} is not what the hub announced: its hash is {self._hashes.digest()}, "
            f"not {self._content.digest}; it was deleted",
            hint=f"does a proxy change it? it came from {self._connection.endpoint.host}",
        )

    def _complete(self, file: BinaryIO) -> None:
        """Receive the rest of the file; its hash is checked later."""
        self._read_partial(file)
        check_free_space(self._partial.parent, self._content.size - self._received)
        refusals = restarts = 0
        retries = RetryState(self._connection.endpoint, self._progress.message)
        self._progress.begin(self._remote.file, self._content.size, self._received)
        try:
            while self._received < self._content.size:
                before = self._received
                try:
                    self._receive(file)
                except RetryableError as error:
                    refusals = refusals + 1 if isinstance(error, RangeRefused) else 0
                    if refusals == MAX_RANGE_REFUSALS and self._received and restarts < MAX_RESTARTS:
                        self._start_over(file)
                        restarts += 1
                        retries.reset()
                    elif self._received - before >= MIN_PROGRESS_BYTES:
                        retries.reset()
                    retries.wait_for_next(error)
        finally:
            self._progress.end()

    def _read_partial(self, file: BinaryIO) -> None:
        """Hash what an earlier attempt has left."""
        self._restart()
        size = os.fstat(file.fileno()).st_size
        if size > self._content.size:
            file.truncate(0)
        elif size:
            self._progress.message(f"continuing after {size_text(size)}")
            file.seek(0)
            while piece := file.read(READ_BYTES):
                self._count(piece)

    def _start_over(self, file: BinaryIO) -> None:
        self._progress.message("the server cannot continue within a file; starting over")
        file.truncate(0)
        self._restart()

    def _restart(self) -> None:
        self._received, self._hashes = 0, _ContentHashes(self._content)

    def _receive(self, file: BinaryIO) -> None:
        remote = self._remote
        with self._connection.open_file(
            remote.repo, remote.file, remote.revision, self._received
        ) as response:
            start = content_start(response, self._content.size)
            if start == 0 and self._received:
                self._start_over(file)
            elif start != self._received:
                raise RangeRefused(f"the server starts at byte {start} instead of {self._received}")
            self._write(file, response)
        if self._received < self._content.size:
            raise RetryableError(
                f"the server stopped after {size_text(self._received)} of {size_text(self._content.size)}"
            )

    def _write(self, file: BinaryIO, response: Any) -> None:
        for piece in self._connection.pieces(response):
            if len(piece) > self._content.size - self._received:
                raise DownloadFailed(
                    f"{self._remote.file}: the server sends more than the {self._content.size} bytes of the file",
                    hint="try again",
                )
            view = memoryview(piece)
            while view:
                written = file.write(view)
                view = view[written:]
            self._count(piece)
            self._progress.update(self._received)

    def _count(self, piece: bytes) -> None:
        self._received += len(piece)
        self._hashes.update(piece)

    def _write_error(self, error: OSError) -> Exception:
        left, received = self._content.size - self._received, self._received
        if error.errno == errno.ENOSPC:
            return disk_full_error(self._partial.parent, left, received=received)
        if error.errno in (errno.EDQUOT, errno.EFBIG):
            hint = (
                f"the {size_text(received)} received so far are kept: run the same command again to continue"
            )
            message = f"{error.strerror}: {size_text(left)} more are needed for {self._partial}"
            return DiskFull(message, param="store", hint=hint)
        return DownloadFailed(f"{self._partial}: {error.strerror or error}")


class _ContentHashes:
    """Computes the sha256 of the file, and git's hash if that is all that the hub knows."""

    def __init__(self, content: FileContent) -> None:
        self.sha256 = hashlib.sha256()
        self._git = None
        if content.sha256 is None:
            self._git = hashlib.sha1(b"blob %d\0" % content.size, usedforsecurity=False)

    def update(self, piece: bytes) -> None:
        self.sha256.update(piece)
        if self._git:
            self._git.update(piece)

    def digest(self) -> str:
        return (self._git or self.sha256).hexdigest()
