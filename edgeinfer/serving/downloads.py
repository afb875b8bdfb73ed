"""Downloads of models while the service runs: one for each model, however many wait for it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Literal, Protocol

import msgspec

from edgeinfer.errors import DownloadFailed, EdgeinferError, QueueFull, shutting_down

MAX_DOWNLOADS = 4
"""Downloads at once."""

REPEAT_INTERVAL = 2.0

RETRY_AFTER = 30

LOG_HINT = "the daemon's log has the details: edgeinfer logs"

logger = logging.getLogger(__name__)

DownloadState = Literal["running", "finished", "failed", "cancelled"]


class PullProgress(msgspec.Struct, frozen=True):
    """How far a download has come.

    Attributes:
        status: what it is doing, in words.
        sha256: of the file, in hex; None if it is not known, or no file is being downloaded.
        total, completed: bytes of the job that `status` names; None if it has no size.
    """

    status: str
    sha256: str | None = None
    total: int | None = None
    completed: int | None = None


class Puller(Protocol):
    """Downloads models."""

    def key(self, name: str) -> str:
        """A text that all names of one model have in common.

        Raises:
            InvalidRequest: it cannot be a name.
            ModelNotFound: there is certainly no such model.
        """
        ...

    def check(self) -> None:
        """Raises EdgeinferError if nothing can be downloaded here, and says what to do instead."""
        ...

    def pull(self, name: str) -> AsyncGenerator[PullProgress, None]:
        """Steps of the download of one model; closing this ends it, and what has been received is kept.

        Raises:
            EdgeinferError: why it failed.
        """
        ...


class Download:
    """One model's download.

    Attributes:
        name: as the first caller wrote it.
        progress: the last step; None before the first.
        error: why it failed.
        is_kept: it goes on when nobody watches it any more.
        is_ending: it has been cancelled, and will end in a moment.
    """

    def __init__(self, name: str, steps: AsyncGenerator[PullProgress, None], notify: Listener) -> None:
        self.name = name
        self.progress: PullProgress | None = None
        self.error: EdgeinferError | None = None
        self.is_kept = self.is_ending = False
        self._state: DownloadState = "running"
        self._watchers = 0
        self._notify = notify
        self._changed = asyncio.Event()
        self._task = asyncio.create_task(self._run(steps))
        self._task.add_done_callback(self._end)

    @property
    def state(self) -> DownloadState:
        return self._state

    async def watch(self) -> AsyncGenerator[PullProgress, None]:
        """Its steps from now on. Who reads slowly misses some, but never the last.

        A step comes again after REPEAT_INTERVAL seconds without another: who passes it on sees whether anybody listens.
        The download is cancelled when its last watcher stops before its end, unless it `is_kept`.

        Raises:
            EdgeinferError: why it failed.
        """
        self._watchers += 1
        seen: PullProgress | None = None
        try:
            while True:
                changed = self._changed
                if self.progress is not None and self.progress is not seen:
                    seen = self.progress
                    yield seen
                elif self._state != "running":
                    break
                else:
                    with contextlib.suppress(asyncio.TimeoutError):
                        await asyncio.wait_for(changed.wait(), REPEAT_INTERVAL)
                        continue
                    seen = None
        finally:
            self._watchers -= 1
            if not self._watchers and not self.is_kept:
                self.cancel()
        if self.error:
            raise self.error

    def cancel(self) -> None:
        """End it. What has been received is kept, and the next download of the model continues there."""
        self.is_ending = True
        self._task.cancel()

    async def ended(self) -> None:
        while self._state == "running":
            await self._changed.wait()

    async def _run(self, steps: AsyncGenerator[PullProgress, None]) -> None:
        async with aclosing(steps):
            async for step in steps:
                self.progress = step
                self._change("running")

    def _end(self, task: asyncio.Task[None]) -> None:
        if task.cancelled():
            self.error = DownloadFailed(f"the download of {self.name} was cancelled")
            self._change("cancelled")
        elif error := task.exception():
            if not isinstance(error, EdgeinferError):
                logger.error("unexpected error", exc_info=error)
                error = DownloadFailed(f"the download of {self.name} failed", hint=LOG_HINT)
            self.error = error
            self._change("failed")
        else:
            self._change("finished")

    def _change(self, state: DownloadState) -> None:
        self._state = state
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
        self._notify(self)


Listener = Callable[[Download], None]


class ModelDownloads:
    """The downloads that are running.

    Attributes:
        listeners: called after each step of any download, and at its end. They must neither block nor raise.
    """

    def __init__(self, puller: Puller) -> None:
        self.listeners: list[Listener] = []
        self._puller = puller
        self._running: dict[str, Download] = {}
        self._ending: set[Download] = set()
        self._closed = False

    def running(self) -> list[Download]:
        return list(self._running.values())

    def get(self, name: str) -> Download | None:
        """The running download of this model."""
        return self._get(self._puller.key(name))

    def start(self, name: str, *, keep: bool = False) -> Download:
        """Begin to download a model, or join its download. `keep`: it goes on even if nobody watches it.

        Raises:
            InvalidRequest, ModelNotFound: this is not the name of a model.
            QueueFull: too many are running.
            EdgeinferError: nothing can be downloaded here.
        """
        key = self._puller.key(name)
        download = self._get(key)
        if download is None:
            self._check()
            download = Download(name, self._puller.pull(name), lambda changed: self._changed(key, changed))
            self._running[key] = download
        download.is_kept |= keep
        return download

    def check_name(self, name: str) -> None:
        """Raises InvalidRequest or ModelNotFound if this is not the name of a model."""
        self._puller.key(name)

    async def follow(self, name: str) -> AsyncGenerator[PullProgress, None]:
        """As `start`, with the steps; the download ends when the last of its followers stops."""
        async with aclosing(self.start(name).watch()) as steps:
            async for step in steps:
                yield step

    async def close(self) -> None:
        """Cancel all downloads."""
        self._closed = True
        running = [*self.running(), *self._ending]
        for download in running:
            download.cancel()
        await asyncio.gather(*(download.ended() for download in running))

    def _get(self, key: str) -> Download | None:
        """The running download with this key. Nobody joins one that is ending: the next one waits for its lock."""
        download = self._running.get(key)
        if download is None or not download.is_ending:
            return download
        self._ending.add(self._running.pop(key))
        return None

    def _check(self) -> None:
        if self._closed:
            raise shutting_down()
        if len(self._running) >= MAX_DOWNLOADS:
            raise QueueFull(f"{MAX_DOWNLOADS} models are being downloaded already", retry_after=RETRY_AFTER)
        self._puller.check()

    def _changed(self, key: str, download: Download) -> None:
        if download.state != "running":
            self._ending.discard(download)
            if self._running.get(key) is download:
                del self._running[key]
        for listener in self.listeners:
            listener(download)
