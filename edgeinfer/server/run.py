"""`edgeinfer serve`: the daemon's life from its settings to its exit status."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import signal
import socket
import sys
import termios
import threading
from collections.abc import Generator, Mapping
from pathlib import Path
from types import FrameType

import uvicorn
from fastapi import FastAPI
from msgspec.structs import replace
from uvicorn.server import HANDLED_SIGNALS

from edgeinfer import log
from edgeinfer.backends.llama_cpp.client import LlamaClient
from edgeinfer.backends.llama_cpp.config import LlamaConfig
from edgeinfer.backends.llama_cpp.messages import PrefixCacheConfig
from edgeinfer.backends.llama_cpp.safe_mode import SafeModeStore
from edgeinfer.chat.tools.detect import MARKERS
from edgeinfer.errors import (
    CannotListen,
    DoesNotFit,
    EdgeinferError,
    ModelLoadFailed,
    ModelNotFound,
    SettingsError,
)
from edgeinfer.notify import extend, notify
from edgeinfer.plan import make_plan
from edgeinfer.server.auth.key_file import key_file
from edgeinfer.server.build import create_app
from edgeinfer.server.http import connections, tls
from edgeinfer.server.http.protocol import Patience, patient
from edgeinfer.server.http.sockets import address, bind, check_exposure, described, inherited
from edgeinfer.server.http.tls import Certificate, certificate
from edgeinfer.server.reload import Reloader
from edgeinfer.server.state import Choices, Daemon
from edgeinfer.server.watchdog import watchdog
from edgeinfer.settings import Loaded, Settings
from edgeinfer.store.location import DAEMON_STATE
from edgeinfer.store.store import Store

WRONG_SETTINGS = 2
"""Exit status of a daemon whose settings are at fault. Starting it again would not help."""

STARTUP_FAILURE = 3
"""The same for a model that is not there or cannot be loaded."""

LAST_WORDS = 5
"""Seconds beyond drain_timeout in which the cut answers may say that they were cut."""

LAST_GASP = 0.5
"""The same after a second Ctrl-C."""

FALLBACKS = "fallback.json"
"""With which settings models survive their self-test: in the store, or where the system's service may write."""

STDIN = 0

STOP_MARGIN = 15.0
"""Seconds that the rest of a stop may take."""

logger = logging.getLogger(__name__)


def run(loaded: Loaded) -> int:
    """Serve until SIGTERM or SIGINT; -> the exit status.

    Raises:
        SettingsError: the daemon cannot run like this.
    """
    given = inherited()
    settings = described(loaded.settings, given)
    settings = replace(settings, api_key_file=key_file(settings))
    log.setup(settings.log_level)
    check_exposure(settings)
    Patience.MOST = connections.raise_limit()
    plan = make_plan(settings)
    sockets = given or bind(settings)
    try:
        app: FastAPI
        client = LlamaClient(
            plan.config,
            load_timeout=settings.load_timeout,
            hang_timeout=settings.hang_timeout,
            markers=MARKERS,
            safe_mode=SafeModeStore(_own_folder(settings) / FALLBACKS),
            replan=lambda _: _replanned(app.state.daemon.settings),
            prefix_cache=_prefix_cache(settings.prefix_cache_mb),
        )
        choices = Choices(plan.config, plan.reasons, loaded.sources, plan.tool_format)
        app = create_app(settings, client, choices)
        server = Server(app, Reloader(app.state.daemon, client, loaded, plan))
        server.run(sockets)
        return server.status
    finally:
        for sock in sockets:
            sock.close()
        if settings.uds is not None and not given:
            Path(settings.uds).unlink(missing_ok=True)


def _own_folder(settings: Settings) -> Path:
    given = os.environ.get("STATE_DIRECTORY", "").split(":")
    return DAEMON_STATE if str(DAEMON_STATE) in given else Store.of(settings).root


def _replanned(settings: Settings) -> LlamaConfig | None:
    """How to load the model on the machine as it is now."""
    try:
        return make_plan(settings).config
    except EdgeinferError as e:
        logger.warning("there is no other plan: %s", e.message)
        return None


def _prefix_cache(megabytes: int, environ: Mapping[str, str] = os.environ) -> PrefixCacheConfig | None:
    """In the cache directory that systemd gives, else in the user's."""
    if not megabytes:
        return None
    given = environ.get("CACHE_DIRECTORY", "").partition(":")[0]
    home = environ.get("XDG_CACHE_HOME") or Path(environ.get("HOME", "/root")) / ".cache"
    return PrefixCacheConfig(str(Path(given or Path(home) / "edgeinfer") / "prefixes"), megabytes)


def exit_status(error: EdgeinferError) -> int:
    """Of a daemon that `error` ended before it listened; 1 where another try may succeed."""
    match error:
        case CannotListen():
            return 1
        case SettingsError():
            return WRONG_SETTINGS
        case ModelNotFound() | ModelLoadFailed() | DoesNotFit():
            return STARTUP_FAILURE
    return 1


def _config(app: FastAPI, drain: float, certificate: Certificate | None) -> uvicorn.Config:
    found = patient(
        app,
        lifespan="on",
        timeout_graceful_shutdown=_patience(drain),
        timeout_notify=tls.LOOK_EVERY,
        callback_notify=certificate.renew if certificate else None,
    )
    found.load()
    found.ssl = certificate.context if certificate else None
    return found


def _patience(drain: float) -> int:
    return math.ceil(drain) + LAST_WORDS


def _is_gone(descriptor: int) -> bool:
    """Whether a terminal was closed at the other end."""
    try:
        termios.tcgetattr(descriptor)
    except termios.error:
        return True
    return False


class Server(uvicorn.Server):
    """uvicorn, with a model that becomes ready after the socket, and with answers that end before it does."""

    def __init__(self, app: FastAPI, reloader: Reloader | None = None) -> None:
        self.daemon: Daemon = app.state.daemon
        settings = self.daemon.settings
        self.certificate = certificate(settings)
        super().__init__(_config(app, settings.drain_timeout, self.certificate))
        self.status = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._watch: asyncio.Task[None] | None = None
        self._watchdog: asyncio.Task[None] | None = None
        self._hurrying: asyncio.Task[None] | None = None
        self._reloader = reloader
        self._reloads: set[asyncio.Task[None]] = set()
        self._terminal = os.isatty(STDIN)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        for sock in sockets or []:
            where = address(sock, tls=self.certificate is not None)
            sys.stderr.write(f"edgeinfer: listening on {where}\n")
        sys.stderr.flush()
        self._watch = asyncio.create_task(self._announce())
        self._watchdog = asyncio.create_task(watchdog(self.daemon.client.health))

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop listening, let running answers end, tell those that do not."""
        notify("STOPPING=1")
        extend(self.daemon.settings.drain_timeout + LAST_WORDS + STOP_MARGIN)
        for task in (self._watch, self._watchdog, *self._reloads):
            if task:
                task.cancel()
        # Beside uvicorn's shutdown, which waits for the connections: this is what ends their answers.
        draining = asyncio.create_task(self.daemon.stop())
        await super().shutdown(sockets)
        await draining
        if self._hurrying:
            await self._hurrying

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A first signal drains; a second one does not wait for it."""
        self.force_exit |= self.should_exit
        super().handle_exit(sig, frame)
        if self.force_exit and self._loop:
            self._loop.call_soon_threadsafe(self._begin_to_hurry)

    def handle_hangup(self, sig: int, frame: FrameType | None) -> None:
        """Reload; but whoever closes the terminal that the daemon runs in wants it to end."""
        if self._terminal and _is_gone(STDIN):
            self.handle_exit(sig, frame)
        elif self._loop:
            self._loop.call_soon_threadsafe(self._begin_to_reload)

    def _begin_to_reload(self) -> None:
        if self._reloader and not self.should_exit:
            task = asyncio.create_task(self._reload(self._reloader))
            self._reloads.add(task)
            task.add_done_callback(self._reloads.discard)

    async def _reload(self, reloader: Reloader) -> None:
        await reloader.reload()
        self.config.timeout_graceful_shutdown = _patience(self.daemon.settings.drain_timeout)

    def _begin_to_hurry(self) -> None:
        self._hurrying = self._hurrying or asyncio.create_task(self._hurry())

    async def _hurry(self) -> None:
        await self.daemon.client.kill()
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
            info = await self.daemon.client.ready()
        except EdgeinferError as e:
            state = self.daemon.client.health.state
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
        before[signal.SIGHUP] = signal.signal(signal.SIGHUP, self.handle_hangup)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
