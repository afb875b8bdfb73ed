"""A child process as the event loop sees it."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import threading


class ChildProcess:
    """A child process within an event loop. Unlike asyncio's, it may be older than the loop.

    Attributes:
        returncode: its exit status, negative for a signal; None while it runs.
    """

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.stderr = asyncio.StreamReader()
        self.returncode: int | None = None
        self._process = process
        self._loop = asyncio.get_running_loop()
        self._exited = asyncio.Event()
        threading.Thread(target=self._reap, name=f"wait for {process.pid}", daemon=True).start()

    @property
    def pid(self) -> int:
        return self._process.pid

    async def open_stderr(self) -> None:
        assert self._process.stderr is not None
        await self._loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(self.stderr), self._process.stderr
        )

    async def wait(self) -> int:
        await self._exited.wait()
        assert self.returncode is not None
        return self.returncode

    def kill(self) -> None:
        self._process.kill()

    def _reap(self) -> None:
        status = self._process.wait()
        with contextlib.suppress(RuntimeError):  # the loop has been closed
            self._loop.call_soon_threadsafe(self._on_exit, status)

    def _on_exit(self, status: int) -> None:
        self.returncode = status
        self._exited.set()
