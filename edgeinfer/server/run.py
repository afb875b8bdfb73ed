"""The daemon's life from its settings to its exit status: sockets, signals, the service manager."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import math
import os
import signal
import socket
import sys
import termios
import threading
from collections.abc import Callable, Generator
from pathlib import Path
from types import FrameType

from msgspec.structs import replace
from starlette.types import ASGIApp
from uvicorn.server import HANDLED_SIGNALS

from edgeinfer import log
from edgeinfer.backends.llama_cpp import spawn
from edgeinfer.daemon_record import recorded
from edgeinfer.errors import (
    CannotListen,
    DoesNotFit,
    EdgeinferError,
    ModelLoadFailed,
    ModelNotFound,
    SettingsError,
    ShuttingDown,
)
from edgeinfer.ipc.confinement.confinement import hide_process
from edgeinfer.notify import extend, notify
from edgeinfer.plan import Plan
from edgeinfer.server.auth import keys
from edgeinfer.server.auth.key_file import key_file
from edgeinfer.server.engines import InstalledModels, LocalEngines
from edgeinfer.server.http import connections, tls
from edgeinfer.server.http.deferred_app import DeferredApp
from edgeinfer.server.http.server import HTTPServer
from edgeinfer.server.http.sockets import (
    address,
    bind,
    bind_ollama,
    check_exposure,
    inherited_sockets,
    with_address,
)
from edgeinfer.server.http.tls import certificate
from edgeinfer.server.openai.errors import render_error
from edgeinfer.server.reload import Reloader
from edgeinfer.server.state import AppState
from edgeinfer.server.watchdog import watchdog
from edgeinfer.settings import Loaded

WRONG_SETTINGS = 2
"""Exit status for wrong settings. Starting the daemon again would not help."""

STARTUP_FAILURE = 3
"""Exit status for a model that does not exist or cannot be loaded; a new start would not help either."""

ERROR_TIMEOUT = 5
"""Seconds after drain_timeout in which answers that were cut may still send their error."""

FORCED_ERROR_TIMEOUT = 0.5
"""Seconds for that after a second Ctrl-C."""

RELOAD_PAUSE = 1.0
"""Seconds between two reloads."""

STDIN = 0

STOP_MARGIN = 15.0
"""Seconds that everything else may take while the daemon stops."""

logger = logging.getLogger(__name__)


def run(loaded: Loaded) -> int:
    """Serve until SIGTERM or SIGINT; -> the exit status.

    Raises:
        SettingsError: the daemon cannot run with these settings.
    """
    hide_process()
    passed = inherited_sockets()
    settings = with_address(loaded.settings, passed)
    settings = replace(settings, api_key_file=key_file(settings))
    log.setup(settings.log_level, form=settings.log_format)
    check_exposure(settings)
    max_connections = connections.raise_limit()
    engines = LocalEngines(settings)
    plan = engines.planner(*settings.default_model())([], [])
    if plan.backend != "llama.cpp":
        spawn.discard(forget=True)
    sockets = passed or bind(settings)
    addresses = [address(sock, tls=bool(settings.tls_cert)) for sock in sockets]
    try:
        sockets = [*sockets, *bind_ollama(settings)]
        state = AppState(settings, loaded.sources, engines, InstalledModels, plan.config.name)
        key = keys.generate() if settings.api_key_file else None

        def build() -> ASGIApp:
            from edgeinfer.server.build import build_app

            app = build_app(state, own=keys.own_key(key) if key else None)
            gc.freeze()  # what has been imported stays, and collections need not go through it
            gc.enable()
            return app

        server = Server(state, build, Reloader(state, loaded, plan), max_connections, plan)
        with recorded(addresses, key):
            server.run(sockets)
        return server.status
    finally:
        for sock in sockets:
            sock.close()
        if settings.uds is not None and not passed:
            Path(settings.uds).unlink(missing_ok=True)


def exit_status(error: EdgeinferError) -> int:
    """The exit status after `error` at startup; 1 means that another start may succeed."""
    match error:
        case CannotListen():
            return 1
        case SettingsError():
            return WRONG_SETTINGS
        case ModelNotFound() | ModelLoadFailed() | DoesNotFit():
            return STARTUP_FAILURE
    return 1


def _shutdown_timeout(drain: float) -> int:
    return math.ceil(drain) + ERROR_TIMEOUT


def _is_gone(descriptor: int) -> bool:
    """True if the terminal was closed at its other end."""
    try:
        termios.tcgetattr(descriptor)
    except termios.error:
        return True
    return False


class Server(HTTPServer):
    """The daemon's HTTP server: models load while it already listens, and answers end before it stops."""

    def __init__(
        self,
        state: AppState,
        build: Callable[[], ASGIApp],
        reloader: Reloader | None = None,
        max_connections: int | None = None,
        plan: Plan | None = None,
    ) -> None:
        """`build` makes the application, in a thread. With a `plan`, the default model loads meanwhile; else after it."""
        self.state = state
        self._plan = plan
        self._app = DeferredApp(build)
        settings = state.settings
        self.certificate = certificate(settings)
        super().__init__(
            self._app,
            render_error=render_error,
            max_connections=max_connections,
            context=self.certificate.context if self.certificate else None,
            lifespan="on",
            timeout_graceful_shutdown=_shutdown_timeout(settings.drain_timeout),
            timeout_notify=tls.CHECK_INTERVAL,
            callback_notify=self.certificate.renew if self.certificate else None,
        )
        self.status = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._watch: asyncio.Task[None] | None = None
        self._watchdog: asyncio.Task[None] | None = None
        self._forcing: asyncio.Task[None] | None = None
        self._reloader = reloader
        self._reloading: asyncio.Task[None] | None = None
        self._wants_reload = False
        self._terminal = os.isatty(STDIN)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        try:
            self._tell_addresses(sockets or [])  # the first line: connections wait there from now on
            if self._plan:
                self.state.start(self._plan)
            await asyncio.to_thread(self._app.build)
            await super().startup(sockets)
            self._watch = asyncio.create_task(self._announce())
            self._watchdog = asyncio.create_task(watchdog(self.state))
        except BaseException:
            # Such as a full disk under stderr. The event loop waits for all tasks, and those of a model take their time.
            await self.state.loader.kill()
            raise

    def _tell_addresses(self, sockets: list[socket.socket]) -> None:
        for sock in sockets:
            where = address(sock, tls=self.certificate is not None)
            if self.state.settings.log_format == "json":
                logger.info("listening on %s", where, extra={log.FIELDS: {"address": where}})
            else:
                sys.stderr.write(f"edgeinfer: listening on {where}\n")
        sys.stderr.flush()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop listening, let running answers finish, and send an error to those that do not."""
        notify("STOPPING=1")
        extend(self.state.settings.drain_timeout + ERROR_TIMEOUT + STOP_MARGIN)
        for task in (self._watch, self._watchdog, self._reloading):
            if task:
                task.cancel()
        # At the same time as uvicorn's shutdown, which waits for connections to close: this ends their answers.
        draining = asyncio.create_task(self.state.stop())
        self._tell_of_draining()
        await super().shutdown(sockets)
        await draining
        if self._forcing:
            await self._forcing
            await (
                self.lifespan.shutdown()
            )  # uvicorn leaves it out then, and would log the end of its task as an error

    def _tell_of_draining(self) -> None:
        answers = sum(model.queue.running for model in self.state.registry.served())
        if answers and not self.force_exit:
            logger.info(
                "stopping when %s, at the latest in %g s; a second signal (Ctrl-C) stops it at once",
                "the running answer has ended" if answers == 1 else f"{answers} running answers have ended",
                self.state.settings.drain_timeout,
            )

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Drain after the first signal, end at once after the second."""
        self.force_exit |= self.should_exit
        super().handle_exit(sig, frame)
        if self.force_exit and self._loop:
            self._loop.call_soon_threadsafe(self._force_end)

    def handle_hangup(self, sig: int, frame: FrameType | None) -> None:
        """Reload, unless the terminal that the daemon runs in was closed: then end."""
        if self._terminal and _is_gone(STDIN):
            self.handle_exit(sig, frame)
        elif self._loop:
            self._loop.call_soon_threadsafe(self._begin_to_reload)

    def _begin_to_reload(self) -> None:
        self._wants_reload = True
        if self._reloader and not self._reloading and not self.should_exit:
            self._reloading = asyncio.create_task(self._reload(self._reloader))

    async def _reload(self, reloader: Reloader) -> None:
        """Reload until no signal has come since the last time began; hundreds of signals make few reloads."""
        while self._wants_reload:
            self._wants_reload = False
            await reloader.reload()
            self.config.timeout_graceful_shutdown = _shutdown_timeout(self.state.settings.drain_timeout)
            await asyncio.sleep(RELOAD_PAUSE)
        self._reloading = None

    def _force_end(self) -> None:
        self._forcing = self._forcing or asyncio.create_task(self._end_connections())

    async def _end_connections(self) -> None:
        await self.state.loader.kill()
        await asyncio.sleep(FORCED_ERROR_TIMEOUT)
        for connection in list(self.server_state.connections):
            if transport := getattr(connection, "transport", None):
                transport.abort()  # a client that has not read the error by now never will

    async def _announce(self) -> None:
        """Notify the service manager once the default model is ready; end the daemon if it cannot be loaded."""
        assert self.state.starting
        try:
            await asyncio.shield(self.state.starting)
        except ShuttingDown:
            return
        except EdgeinferError as e:
            self._fail(e)
        else:
            notify(f"READY=1\nSTATUS=serving {self.state.registry.default.name}")

    def _fail(self, error: EdgeinferError) -> None:
        logger.error("the model cannot be loaded: %s", error.message)
        if error.hint:
            logger.error("hint: %s", error.hint)
        self.status = STARTUP_FAILURE
        self.should_exit = True

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        # uvicorn raises the signal once more at the end, which would make a clean stop look like a crash.
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self.handle_exit) for number in HANDLED_SIGNALS}
        before[signal.SIGHUP] = signal.signal(signal.SIGHUP, self.handle_hangup)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
