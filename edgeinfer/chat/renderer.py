"""The daemon's end of the template process."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path
from typing import Any

import msgspec

from edgeinfer.chat.wire import HEADER, MAX_FRAME, MEMORY, Render, Rendered, Rendering, frame
from edgeinfer.errors import EdgeinferError, InvalidRequest, ShuttingDown, TemplateError

START_LIMIT = 60.0
"""Seconds that the process may take to come up: a busy board with a slow card is slow."""

INHERITED = ("TZ", "LD_LIBRARY_PATH")
"""Environment variables the process may see. All others could hold secrets."""


class Renderer:
    """Renders untrusted Jinja sources in one child process, started at the first call and kept.

    Calls take turns. A call that exceeds `timeout` seconds, or breaks the process, fails alone: the next one
    finds a fresh process. A cancelled call leaves the order of things intact.
    """

    def __init__(self, timeout: float = 5.0) -> None:
        self._timeout = timeout
        self._turn = asyncio.Lock()
        self._closed = False
        self._process: Process | None = None
        self._running: asyncio.Task[list[Rendering]] | None = None

    async def render(self, source: str, context: dict[str, Any]) -> str:
        """Raises TemplateError: the template's own refusal, its failure, or a limit it exceeded."""
        (rendering,) = await self.render_each(source, [context])
        if rendering.text is None:
            raise TemplateError(rendering.error)
        return rendering.text

    async def render_each(self, source: str, contexts: list[dict[str, Any]]) -> list[Rendering]:
        """One outcome a context, all within one time limit.

        Raises:
            TemplateError: a limit was exceeded.
            InvalidRequest: a context cannot be sent.
            ShuttingDown: the renderer was closed.
        """
        try:
            request = frame(Render(source, contexts, self._timeout))
        except (UnicodeEncodeError, RecursionError, TypeError, OverflowError, ValueError) as e:
            raise InvalidRequest(f"the messages cannot be rendered: {e}", param="messages") from e
        await self._turn.acquire()
        if self._closed:
            self._turn.release()
            raise ShuttingDown("the template process was closed")
        # From here on the exchange runs to its end whatever becomes of the caller: an answer left unread
        # would be taken for the next caller's.
        task = self._running = asyncio.create_task(self._exchange(request))
        task.add_done_callback(self._finished)
        return await asyncio.shield(task)

    async def close(self) -> None:
        """End the process. Calls under way, waiting or yet to come raise ShuttingDown."""
        self._closed = True
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait([self._running])
        await self._end()

    def _finished(self, task: asyncio.Task[list[Rendering]]) -> None:
        self._running = None
        self._turn.release()
        if not task.cancelled():
            task.exception()  # its caller may be gone; then nobody else looks

    async def _exchange(self, request: bytes) -> list[Rendering]:
        try:
            process = await self._started()
            return await asyncio.wait_for(_ask(process, request), self._timeout)
        except asyncio.TimeoutError:
            await self._end()
            raise TemplateError(f"the chat template took longer than {self._timeout:g} seconds") from None
        except (EOFError, OSError, msgspec.MsgspecError) as e:
            await self._end()
            raise TemplateError(
                f"the chat template broke its process, which may use {MEMORY >> 20} MiB of memory"
            ) from e
        except asyncio.CancelledError:  # by close, or by the end of the loop
            await self._end()
            raise ShuttingDown("the template process was closed") from None

    async def _started(self) -> Process:
        """The process, running and ready."""
        process = self._process
        if process is not None and process.returncode is None and not _reader(process).at_eof():
            return process
        await self._end()
        try:
            self._process = process = await _spawn()
            await asyncio.wait_for(_read(process), START_LIMIT)
        except (EOFError, OSError, msgspec.MsgspecError, asyncio.TimeoutError) as e:
            await self._end()
            raise EdgeinferError(
                "the template process did not start", hint="see the log for its own words"
            ) from e
        return process

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.communicate()  # waits for its end, and empties and closes the pipes


async def _spawn() -> Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "edgeinfer.chat.template", stdin=PIPE, stdout=PIPE, env=_environment(), cwd="/"
    )


def _environment() -> dict[str, str]:
    # As multiprocessing does: the child finds modules where we do, and nowhere else.
    path = os.pathsep.join(str(Path(entry).absolute()) for entry in sys.path)
    return {"PYTHONPATH": path} | {name: os.environ[name] for name in INHERITED if name in os.environ}


async def _ask(process: Process, request: bytes) -> list[Rendering]:
    assert process.stdin is not None
    process.stdin.write(request)
    await process.stdin.drain()
    return (await _read(process)).renderings


async def _read(process: Process) -> Rendered:
    (length,) = HEADER.unpack(await _reader(process).readexactly(HEADER.size))
    if length > MAX_FRAME:
        raise EOFError(f"a frame of {length} bytes")
    return msgspec.msgpack.decode(await _reader(process).readexactly(length), type=Rendered)


def _reader(process: Process) -> asyncio.StreamReader:
    assert process.stdout is not None
    return process.stdout
