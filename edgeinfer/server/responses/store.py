"""Keeps responses on disk for a while, each in a file that only the daemon's user can read.

A file's name has the response's owner and id, so that nobody finds another one's; its time is when the response was last
used. What is written is complete or not there: a file that is damaged nevertheless counts as not there.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import tempfile
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from edgeinfer.daemon_record import record_folders
from edgeinfer.settings import Settings

MEGABYTE = 1024 * 1024
BLOCK = 4096
"""Bytes in which disks are used up."""

TIDY_INTERVAL = 3600.0
"""Seconds between two times that the store is tidied."""

SUFFIX = ".json"
TEMPORARY = ".tmp-"

T = TypeVar("T")

_thread = ThreadPoolExecutor(1, thread_name_prefix="responses")
"""One is enough for one disk; more would keep the event loop waiting for its turn."""

logger = logging.getLogger(__name__)


async def in_store_thread(work: Callable[[], T]) -> T:
    """The result of `work`, which blocks."""
    return await asyncio.get_running_loop().run_in_executor(_thread, work)


def store_folder() -> Path:
    """Return the folder for the responses of a daemon of this user, beside the records of running daemons."""
    return record_folders()[0].with_name("responses")


class StoredResponse(msgspec.Struct, frozen=True, kw_only=True):
    """A response and what it answered.

    Attributes:
        input: the items of the request, each with an id.
        previous: the id of the response that it continues.
        response: as it was sent.
    """

    input: list[dict[str, Any]]
    previous: str | None
    response: dict[str, Any]

    @property
    def output(self) -> list[dict[str, Any]]:
        """The items of the response."""
        return list(self.response.get("output", ()))


class ResponseStore:
    """All stored responses, up to a size and an age; what was used longest ago goes first.

    A caller that stores much makes room among its own.

    Its methods block: call them by `in_store_thread`.
    """

    def __init__(self, folder: Path, settings: Callable[[], Settings]) -> None:
        self._folder = folder
        self._settings = settings
        self._lock = threading.Lock()
        self._sizes: dict[str, int] = {}
        """Bytes of each file, by its name: the one used longest ago first."""
        self._scanned = False

    @property
    def enabled(self) -> bool:
        settings = self._settings()
        return bool(settings.responses_store_mb and settings.responses_store_hours)

    def save(self, owner: str, id: str, stored: StoredResponse) -> None:
        """Store a response. One that cannot be stored is not, and the log says why."""
        content = msgspec.json.encode(stored)
        if not self.enabled:
            return
        if _blocks(len(content)) > self._limit:
            logger.warning(
                "a response of %d bytes is larger than responses_store_mb, and is not stored", len(content)
            )
            return
        with self._lock:
            try:
                self._scan()
                self._write(_name(owner, id), content)
                self._evict()
            except OSError as e:
                logger.warning("a response cannot be stored in %s: %s", self._folder, e.strerror)

    def load(self, owner: str, id: str) -> StoredResponse | None:
        """The response with this id if it is the owner's, which is thereby used; None if there is none."""
        name = _name(owner, id)
        with self._lock, contextlib.suppress(OSError):
            self._scan()
            self._evict()
            if name not in self._sizes:
                return None
            stored = self._read(name)
            if stored:
                os.utime(self._folder / name)
                self._sizes[name] = self._sizes.pop(name)
            return stored
        return None

    def tidy(self) -> None:
        """Remove what is too old, and what the settings leave no room for."""
        with self._lock, contextlib.suppress(OSError):
            self._scan()
            self._evict()

    def size(self, owner: str, id: str) -> int:
        """The bytes that a response takes; 0 if there is none."""
        with self._lock:
            return self._sizes.get(_name(owner, id), 0)

    def delete(self, owner: str, id: str) -> bool:
        """Delete a response; -> whether there was one."""
        name = _name(owner, id)
        with self._lock, contextlib.suppress(OSError):
            self._scan()
            if name in self._sizes:
                self._remove(name)
                return True
        return False

    @property
    def _limit(self) -> int:
        return self._settings().responses_store_mb * MEGABYTE

    def _scan(self) -> None:
        """Find what an earlier run has left, once."""
        if self._scanned:
            return
        found: list[tuple[float, str, int]] = []
        with contextlib.suppress(FileNotFoundError), os.scandir(self._folder) as entries:
            for entry in entries:
                if entry.name.startswith(TEMPORARY):
                    Path(entry.path).unlink(missing_ok=True)
                elif entry.name.endswith(SUFFIX) and entry.is_file(follow_symlinks=False):
                    status = entry.stat(follow_symlinks=False)
                    found.append((status.st_mtime, entry.name, _blocks(status.st_size)))
        self._sizes = {name: size for _, name, size in sorted(found)}
        self._scanned = True

    def _write(self, name: str, content: bytes) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=self._folder, prefix=TEMPORARY)  # mode 0600
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
            Path(temporary).replace(self._folder / name)
        except OSError:
            Path(temporary).unlink(missing_ok=True)
            raise
        self._sizes.pop(name, None)
        self._sizes[name] = _blocks(len(content))

    def _read(self, name: str) -> StoredResponse | None:
        try:
            descriptor = os.open(self._folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            with os.fdopen(descriptor, "rb") as file:
                return msgspec.json.decode(file.read(), type=StoredResponse)
        except FileNotFoundError:
            self._sizes.pop(name, None)
        except (OSError, ValueError, RecursionError) as e:
            logger.warning("the stored response %s is damaged, and is ignored: %s", name, type(e).__name__)
        return None

    def _evict(self) -> None:
        """Remove what is too old, and of what is too much the oldest of the owner that has the most."""
        oldest = time.time() - 3600 * self._settings().responses_store_hours
        while self._sizes and self._is_older(next(iter(self._sizes)), oldest):
            self._remove(next(iter(self._sizes)))
        total = sum(self._sizes.values())
        if total <= self._limit:
            return
        owned = Counter[str]()
        names: dict[str, deque[str]] = {}
        for name, size in self._sizes.items():
            owned[_owner(name)] += size
            names.setdefault(_owner(name), deque()).append(name)
        while total > self._limit:
            most, _ = owned.most_common(1)[0]
            name = names[most].popleft()
            total -= self._sizes[name]
            owned[most] -= self._sizes[name]
            self._remove(name)

    def _is_older(self, name: str, limit: float) -> bool:
        try:
            return (self._folder / name).stat().st_mtime < limit
        except FileNotFoundError:
            return True

    def _remove(self, name: str) -> None:
        (self._folder / name).unlink(missing_ok=True)
        self._sizes.pop(name, None)


async def keep_tidy(store: ResponseStore) -> None:
    """Tidy the store now and every hour, also if nobody uses it."""
    while True:
        await in_store_thread(store.tidy)
        await asyncio.sleep(TIDY_INTERVAL)


def _name(owner: str, id: str) -> str:
    return f"{owner}.{id}{SUFFIX}"


def _owner(name: str) -> str:
    return name.partition(".")[0]


def _blocks(size: int) -> int:
    return -(-size // BLOCK) * BLOCK
