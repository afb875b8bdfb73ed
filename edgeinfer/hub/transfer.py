"""One file on its way here: resumed, bounded, hashed as it comes."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from edgeinfer.errors import DiskFull, DownloadFailed, HashMismatch
from edgeinfer.hub.connection import HubConnection, content_start
from edgeinfer.hub.retries import RetryableError, RetryState
from edgeinfer.store.free_space import check_free_space, disk_full_error
from edgeinfer.store.progress import Progress, size_text

READ_BYTES = 1 << 20
MIN_PROGRESS_BYTES = 1 << 16
"""Bytes that an attempt must bring to count as progress: a server that sends one byte a time has an end."""


class FileContent(msgspec.Struct, frozen=True):
    """What a file has to be: bytes, and sha256 or git's sha1 of it in hex."""

    size: int
    sha256: str | None
    git_sha1: str | None = None

    @property
    def digest(self) -> str:
        return self.sha256 or self.git_sha1 or ""


class Transfer:
    """Fetches one file of a repository into `partial`.

    Whatever happens, `partial` is a beginning of the file that the next attempt goes on from, or is gone.
    """

    def __init__(
        self,
        connection: HubConnection,
        place: tuple[str, str, str],
        content: FileContent,
        partial: Path,
        progress: Progress,
    ) -> None:
        """`place`: repository, file, commit."""
        self._connection, self._content, self._partial = connection, content, partial
        self._repo, self._file, self._revision = place
        self._progress = progress
        self._have = 0
        self._hashes = _Hashes(content)

    def run(self) -> str:
        """-> the file's sha256.

        Raises:
            HashMismatch: twice the bytes were not those that were announced.
            DownloadFailed, DiskFull, EdgeinferError: as it says.
        """
        for attempt in (1, 2):
            try:
                with self._partial.open("a+b", buffering=0) as file:
                    self._fill(file)
            except OSError as e:
                raise self._unwritable(e) from e
            if self._hashes.digest() == self._content.digest:
                return self._hashes.sha256.hexdigest()
            self._partial.unlink()
            if attempt == 1:
                self._progress.message(
                    "the bytes are not those that were announced; once more from the start"
                )
        raise HashMismatch(
            f"{self._file} is not what the hub announced: its hash is {self._hashes.digest()}, "
            f"not {self._content.digest}; it was thrown away",
            hint=f"does something on the way change it? it came from {self._connection.endpoint.host}",
        )

    def _fill(self, file: BinaryIO) -> None:
        """Have the whole file, whether right or wrong."""
        self._read_again(file)
        check_free_space(self._partial.parent, self._content.size - self._have)
        retries = RetryState(self._connection.endpoint, self._progress.message)
        self._progress.begin(self._file, self._content.size, self._have)
        try:
            while self._have < self._content.size:
                before = self._have
                try:
                    self._receive(file)
                except RetryableError as trouble:
                    if self._have - before >= MIN_PROGRESS_BYTES:
                        retries.reset()
                    retries.wait_for_next(trouble)
        finally:
            self._progress.end()

    def _read_again(self, file: BinaryIO) -> None:
        """Hash what an earlier attempt has left."""
        self._have, self._hashes = 0, _Hashes(self._content)
        size = os.fstat(file.fileno()).st_size
        if size > self._content.size:
            file.truncate(0)
        elif size:
            self._progress.message(f"{size_text(size)} of it are here already")
            file.seek(0)
            while piece := file.read(READ_BYTES):
                self._take(piece)

    def _receive(self, file: BinaryIO) -> None:
        with self._connection.open_file(self._repo, self._file, self._revision, self._have) as response:
            start = content_start(response, self._content.size)
            if start == 0 and self._have:
                self._progress.message("the server cannot go on in the middle of a file: from the start")
                file.truncate(0)
                self._have, self._hashes = 0, _Hashes(self._content)
            elif start != self._have:
                raise RetryableError(f"the server sends from byte {start}, not from {self._have}")
            self._write(file, response)
        if self._have < self._content.size:
            raise RetryableError(
                f"the server ended after {size_text(self._have)} of {size_text(self._content.size)}"
            )

    def _write(self, file: BinaryIO, response: Any) -> None:
        for piece in response.iter_raw():
            if len(piece) > self._content.size - self._have:
                raise DownloadFailed(
                    f"{self._file}: the server sends more than the {self._content.size} bytes of the file",
                    hint="try again",
                )
            view = memoryview(piece)
            while view:
                written = file.write(view)
                view = view[written:]
            self._take(piece)
            self._progress.update(self._have)

    def _take(self, piece: bytes) -> None:
        self._have += len(piece)
        self._hashes.update(piece)

    def _unwritable(self, error: OSError) -> Exception:
        left, kept = self._content.size - self._have, self._have
        if error.errno == errno.ENOSPC:
            return disk_full_error(self._partial.parent, left, received=kept)
        if error.errno in (errno.EDQUOT, errno.EFBIG):
            hint = f"the {size_text(kept)} that came are kept, and the same command goes on from there"
            why = f"{error.strerror}: {size_text(left)} more are to be written to {self._partial}"
            return DiskFull(why, param="store", hint=hint)
        return DownloadFailed(f"{self._partial}: {error.strerror or error}")


class _Hashes:
    """The sha256 of what came, and git's where the hub knows no other."""

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
