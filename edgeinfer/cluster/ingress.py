"""The daemon's HTTP service as a replica of Ray Serve, with the fleet in place of engines of its own."""

from __future__ import annotations

import asyncio
import logging
import socket
from contextlib import ExitStack
from typing import Any

import msgspec
from msgspec.structs import replace

from edgeinfer import log, settings
from edgeinfer.cluster.canary import Canary
from edgeinfer.cluster.engines import FleetEngines, FleetModels
from edgeinfer.cluster.fleet import Fleet
from edgeinfer.cluster.fleet_peers import FleetPeers
from edgeinfer.cluster.serve_group import ServeGroups
from edgeinfer.cluster.versions import FleetVersions
from edgeinfer.daemon_record import recorded
from edgeinfer.errors import CannotListen
from edgeinfer.server.auth import keys
from edgeinfer.server.auth.key_file import key_file
from edgeinfer.server.build import build_app
from edgeinfer.server.http import connections
from edgeinfer.server.http.sockets import address, bind, bind_ollama, check_exposure
from edgeinfer.server.run import Server
from edgeinfer.server.state import AppState
from edgeinfer.settings import Settings
from edgeinfer.store.lookup import BUNDLED_MODEL

PORT_WAIT = 30.0
"""Seconds in which the ingress before this one may let go of the port."""

logger = logging.getLogger(__name__)


class IngressArgs(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an ingress is started with.

    Attributes:
        fleet: the name of the fleet, with which those of its applications begin.
        settings: settings of the fleet; they take precedence over those of the node.
        version: of the program that has deployed it; another one makes Ray Serve replace the replicas.
    """

    fleet: str = "edgeinfer"
    settings: dict[str, Any] = {}
    version: str = ""


class IngressConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What may change while an ingress runs.

    Attributes:
        model: the fleet's own; None leaves that to the settings.
        canary: a version of it that answers a share of the conversations.
    """

    model: str | None = None
    canary: Canary | None = None


class Ingress:
    """Listens where the settings say, and answers with the replicas of the fleet.

    It serves HTTP itself, without Ray Serve's proxy: connections, limits and TLS are those of the daemon, and a token
    takes one hop less. Ray Serve places it, watches it, and replaces it.
    """

    def __init__(self, args: dict[str, Any]) -> None:
        self.server: Server | None = None
        self._args = msgspec.convert(args, IngressArgs)
        self._config = IngressConfig()
        self._versions: FleetVersions | None = None
        self._serving: asyncio.Task[None] | None = None

    async def reconfigure(self, config: dict[str, Any]) -> None:
        """Ray Serve calls this once at the start, and when the configuration has changed; see `IngressConfig`."""
        self._config = msgspec.convert(config, IngressConfig)
        if self._serving is None:
            self._serving = asyncio.create_task(self._serve())
        elif self._versions:
            self._apply(self._versions)

    def _apply(self, versions: FleetVersions) -> None:
        own = settings.load(self._args.settings).settings.model
        versions.change(self._config.model or own or BUNDLED_MODEL, self._config.canary)

    async def _serve(self) -> None:
        args = self._args
        loaded = settings.load(args.settings)
        mine = replace(loaded.settings, model=self._config.model or loaded.settings.model or BUNDLED_MODEL)
        mine = replace(mine, api_key_file=key_file(mine))
        log.setup(mine.log_level, form=mine.log_format)
        check_exposure(mine)
        max_connections = connections.raise_limit()
        fleet = Fleet(ServeGroups(args.fleet, in_loop=True), self._waiting)
        following = asyncio.create_task(fleet.run())
        sockets = await bind_patiently(mine)
        with ExitStack() as stack:
            for sock in sockets:
                stack.callback(sock.close)
            key = keys.generate() if mine.api_key_file else None
            engines, names = FleetEngines(fleet), FleetModels(fleet)
            state = AppState(mine, loaded.sources, engines, lambda _: names, mine.model or BUNDLED_MODEL)
            state.peers = FleetPeers(mine, fleet)
            self._versions = FleetVersions(state, fleet)
            stack.callback(self._versions.close)
            self._apply(self._versions)
            app = build_app(state, own=keys.own_key(key) if key else None)
            self.server = Server(state, lambda: app, max_connections=max_connections)
            stack.enter_context(recorded([address(s, tls=bool(mine.tls_cert)) for s in sockets], key))
            try:
                await self.server.serve(sockets)
            finally:
                following.cancel()

    def _waiting(self) -> int:
        """Requests that wait for their turn."""
        return sum(model.queue.waiting for model in self.server.state.registry.served()) if self.server else 0

    def check_health(self) -> None:
        """Ray Serve replaces the ingress when this raises."""
        if self._serving and self._serving.done():
            self._serving.result()
            raise RuntimeError("the ingress has stopped")

    async def __del__(self) -> None:
        """Ray Serve calls this once, when the ingress is to end: running answers may finish."""
        if self.server and self._serving:
            self.server.should_exit = True
            await asyncio.wait([self._serving])


async def bind_patiently(settings: Settings) -> list[socket.socket]:
    """The sockets of `bind`, and of `bind_ollama`, even if an earlier ingress is about to close its own."""
    end = asyncio.get_running_loop().time() + PORT_WAIT
    while True:
        try:
            return [*bind(settings), *bind_ollama(settings)]
        except CannotListen:  # noqa: PERF203
            if asyncio.get_running_loop().time() > end:
                raise
            await asyncio.sleep(0.5)
