"""`edgeinfer serve`: the daemon's life from its settings to its exit status."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import signal
import socket
import sys
import threading
from collections.abc import Generator
from pathlib import Path
from types import FrameType

import uvicorn
from fastapi import FastAPI
from uvicorn.server import HANDLED_SIGNALS

from edgeinfer import log
from edgeinfer.chat.tools.formats import MARKERS
from edgeinfer.errors import EdgeinferError
from edgeinfer.notify import notify
from edgeinfer.plan import make_plan
from edgeinfer.server.app import create_app
from edgeinfer.server.daemon import Choices, Daemon
from edgeinfer.server.patience import Patience
from edgeinfer.server.sockets import address, bind, check_exposure
from edgeinfer.settings import Loaded
from edgeinfer.worker.supervisor import Supervisor

STARTUP_FAILURE = 3
"""Exit status of a daemon whose model cannot be loaded: starting it again would not help."""

LAST_WORDS = 5
"""Seconds beyond drain_timeout in which the cut answers may say that they were cut."""

LAST_GASP = 0.5
"""The same after a second Ctrl-C."""

logger = logging.getLogger(__name__)


def run(loaded: Loaded) -> int:
    """Serve until SIGTERM or SIGINT; -> the exit status.

    Raises:
        SettingsError: the daemon cannot run like this.
    """
    settings = loaded.settings
    log.setup(settings.log_level)
    check_exposure(settings)
    plan = make_plan(settings)
    sockets = bind(settings)
    try:
        supervisor = Supervisor(
            plan.config, queue=settings.queue, load_timeout=settings.load_timeout, markers=MARKERS
        )
        choices = Choices(plan.config, plan.reasons, loaded.sources, plan.tool_format)
        app = create_app(settings, supervisor, choices)
        server = Server(app)
        server.run(sockets)
        return server.status
    finally:
        for sock in sockets:
            sock.close()
        if settings.uds is not None:
            Path(settings.uds).unlink(missing_ok=True)


def _config(app: FastAPI, drain: float) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=Patience,
        lifespan="on",
        ws="none",
        log_config=None,
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=math.ceil(drain) + LAST_WORDS,
    )


class Server(uvicorn.Server):
    """uvicorn, with a model that becomes ready after the socket, and with answers that end before it does."""

    def __init__(self, app: FastAPI) -> None:
        self.daemon: Daemon = app.state.daemon
        super().__init__(_config(app, self.daemon.settings.drain_timeout))
        self.status = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._watch: asyncio.Task[None] | None = None
        self._hurrying: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        for sock in sockets or []:
            sys.stderr.write(f"edgeinfer: listening on {address(sock)}\n")
        sys.stderr.flush()
        self._watch = asyncio.create_task(self._announce())

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop listening, let running answers end, tell those that do not."""
        notify("STOPPING=1")
        if self._watch:
            self._watch.cancel()
        # Beside uvicorn's shutdown, which waits for the connections: this is what ends their answers.
        draining = asyncio.create_task(self.daemon.stop())
        await super().shutdown(sockets)
        await draining
        if self._hurrying:
            await self._hurrying

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A first signal drains; a second Ctrl-C does not wait for it."""
        super().handle_exit(sig, frame)
        if self.force_exit and self._loop:
            self._loop.call_soon_threadsafe(self._begin_to_hurry)

    def _begin_to_hurry(self) -> None:
        self._hurrying = self._hurrying or asyncio.create_task(self._hurry())

    async def _hurry(self) -> None:
        await self.daemon.supervisor.stop()
        await asyncio.sleep(LAST_GASP)
        for connection in list(self.server_state.connections):
            if transport := getattr(connection, "transport", None):
                transport.abort()  # whoever has not read the end by now will not

    async def _announce(self) -> None:
        """Tell the service manager once the model answers; end the daemon if it never will."""
        while True:
            if await self._settled():
                return
            await asyncio.sleep(0.1)

    async def _settled(self) -> bool:
        """Whether the model's fate is known; waits for it, but not for ever."""
        try:
            info = await self.daemon.supervisor.ready()
        except EdgeinferError as e:
            state = self.daemon.supervisor.state
            if state == "failed":
                self._fail(e)
            return state in ("failed", "stopped")
        notify(f"READY=1\nSTATUS=serving {info.name}")
        await self.daemon.warm_up(info)
        return True

    def _fail(self, error: EdgeinferError) -> None:
        logger.error("the model cannot be loaded: %s", error.message)
        if error.hint:
            logger.error("hint: %s", error.hint)
        self.status = STARTUP_FAILURE
        self.should_exit = True

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        # uvicorn raises the signal once more when all is done: a clean stop would look like a death.
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self.handle_exit) for number in HANDLED_SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
