"""Downloads models in a process of their own: the hub's client is large, and what it reads is not trusted."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from tempfile import TemporaryFile

import msgspec

from edgeinfer.errors import DownloadFailed, InvalidRequest, StoreError, revive
from edgeinfer.hub.reference import parse_reference
from edgeinfer.server.http.quoting import shortened
from edgeinfer.serving.downloads import LOG_HINT, PullProgress
from edgeinfer.store.catalogue import resolve_spec
from edgeinfer.store.model_name import split_name
from edgeinfer.store.names import MAX_LENGTH
from edgeinfer.store.pull_events import PullEvent
from edgeinfer.store.store import Store

EXIT_TIMEOUT = 5.0
"""Seconds that the process gets to end before it is killed."""

MAX_EVENT = 1 << 16
"""Bytes of an event."""

_decoder = msgspec.json.Decoder(PullEvent)


class PullProcess:
    """Implements Puller with `edgeinfer pull`."""

    def __init__(self, store: Callable[[], Store]) -> None:
        self._store = store

    def key(self, name: str) -> str:
        name = name.strip()
        if not name or len(name) > 2 * MAX_LENGTH or name.startswith("-") or not name.isprintable():
            raise InvalidRequest(f"{shortened(name)!r} is not the name of a model", param="model")
        parse_reference(name)
        model, quant = split_name(name)
        if "/" not in model:
            model, _ = resolve_spec(model)  # raises ModelNotFound, which needs no process
        return f"{model}:{quant or ''}".lower()

    def check(self) -> None:
        if not _is_writable(root := self._store().root):
            raise StoreError(
                f"the daemon may not write to {root}, where its models are",
                hint="on that machine: sudo edgeinfer pull MODEL",
            )

    async def pull(self, name: str) -> AsyncGenerator[PullProgress, None]:
        process = await self._start(name)
        try:
            assert process.stdout
            last: PullEvent | None = None
            async for line in process.stdout:
                last = _event(line)
                if last.error:
                    raise revive(last.error)
                if last.text:
                    yield PullProgress(last.text, last.sha256, last.total, last.done)
            if last is None or last.model is None:
                raise _died(name, await process.wait())
        finally:
            await _end(process)

    async def _start(self, name: str) -> Process:
        # The variables of the hub's client are the user's, and so are those of the settings.
        environ = {**os.environ, "EDGEINFER_STORE": str(self._store().root)}
        command = [sys.executable, "-m", "edgeinfer", "pull", "--events", "--", name.strip()]
        try:
            return await asyncio.create_subprocess_exec(
                *command, stdin=DEVNULL, stdout=PIPE, env=environ, limit=MAX_EVENT
            )
        except OSError as e:
            raise DownloadFailed(f"cannot start the download: {e.strerror}") from e


def _event(line: bytes) -> PullEvent:
    try:
        return _decoder.decode(line)
    except msgspec.DecodeError as e:
        raise DownloadFailed(
            f"the download's process wrote {shortened(line.decode(errors='replace'))!r}"
        ) from e


def _died(name: str, status: int) -> DownloadFailed:
    return DownloadFailed(f"the download of {name} ended with status {status}", hint=LOG_HINT)


async def _end(process: Process) -> None:
    """End the process. What it has received stays, and the next download continues there."""
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    waiting = asyncio.create_task(process.wait())
    try:
        await asyncio.wait([waiting], timeout=EXIT_TIMEOUT)
    finally:
        if not waiting.done():
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await waiting


def _is_writable(root: Path) -> bool:
    """Whether files can be made in `root`, which need not exist yet."""
    folder = next(path for path in (root, *root.parents) if path.exists())
    try:
        with TemporaryFile(dir=folder):
            return True
    except OSError:
        return False
