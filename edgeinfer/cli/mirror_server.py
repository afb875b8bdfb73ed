"""Serves the mirror with the daemon's protections: the same connections, and checks of hosts, origins and bodies."""

from __future__ import annotations

from starlette.types import ASGIApp

from edgeinfer.hub.mirror import MAX_BODY_BYTES, error_body, mirror_app
from edgeinfer.hub.mirror_auth import MirrorKeys
from edgeinfer.hub.wheel_folder import WheelFolder
from edgeinfer.server.http import connections, tls
from edgeinfer.server.http.family import Families, Family
from edgeinfer.server.http.server import HTTPServer
from edgeinfer.server.http.sockets import is_loopback
from edgeinfer.server.http.tls import certificate
from edgeinfer.server.middleware.body_limit import BodyLimitMiddleware
from edgeinfer.server.middleware.cors import CORSMiddleware, parse_origins
from edgeinfer.server.middleware.family import FamilyMiddleware
from edgeinfer.server.middleware.trusted_host import TrustedHostMiddleware, parse_hosts
from edgeinfer.settings import Settings
from edgeinfer.store.store import Store

FAMILY = Family("mirror", (), error_body, error_type=dict, stream_error=error_body)

SHUTDOWN_TIMEOUT = 5
"""Seconds that running downloads get at shutdown; clients resume where they were."""

FILES_PER_CONNECTION = 3
"""Descriptors that a download takes."""


def mirror_server(
    store: Store, settings: Settings, keys: MirrorKeys | None = None, wheels: WheelFolder | None = None
) -> HTTPServer:
    """A server for the mirror of `store` and `wheels`, for other machines too if it listens beyond loopback.

    Raises:
        SettingsError: the certificate or a list of names in the settings is unusable.
    """
    hosts, origins = parse_hosts(settings.allowed_hosts), parse_origins(settings.cors_origins)

    def guard(app: ASGIApp) -> ASGIApp:
        app = BodyLimitMiddleware(app, MAX_BODY_BYTES)
        app = CORSMiddleware(app, origins)
        if keys is None or is_loopback(settings.host):
            app = TrustedHostMiddleware(app, hosts, local_names=not is_loopback(settings.host))
        return FamilyMiddleware(app, Families([FAMILY]))

    cert = certificate(settings) if settings.tls_cert or settings.tls_key else None
    return HTTPServer(
        mirror_app(store, wheels=wheels, keys=keys, guard=guard),
        render_error=error_body,
        max_connections=connections.raise_limit(FILES_PER_CONNECTION),
        context=cert.context if cert else None,
        lifespan="off",
        timeout_graceful_shutdown=SHUTDOWN_TIMEOUT,
        timeout_notify=tls.CHECK_INTERVAL,
        callback_notify=cert.renew if cert else None,
    )
