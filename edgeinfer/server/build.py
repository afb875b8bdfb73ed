"""Builds the ASGI application: API families, the middlewares around them, startup and shutdown.

Nothing here has an effect on the process: no logging, no signals, no sockets. `run` has those.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware

from edgeinfer import __version__
from edgeinfer.errors import EdgeinferError
from edgeinfer.server.admin import family as admin
from edgeinfer.server.anthropic import family as anthropic
from edgeinfer.server.auth.key_file import KeyFile
from edgeinfer.server.auth.keys import Key
from edgeinfer.server.http.errors import on_error, on_http_exception
from edgeinfer.server.http.family import Families, Family
from edgeinfer.server.http.sockets import is_loopback
from edgeinfer.server.llama_server import family as llama_server
from edgeinfer.server.middleware.access_log import AccessLogMiddleware
from edgeinfer.server.middleware.auth import AuthMiddleware
from edgeinfer.server.middleware.body_limit import BodyLimitMiddleware
from edgeinfer.server.middleware.cors import CORSMiddleware, parse_origins
from edgeinfer.server.middleware.family import FamilyMiddleware
from edgeinfer.server.middleware.head_requests import HeadRequestMiddleware
from edgeinfer.server.middleware.rate_limit import RateLimitMiddleware
from edgeinfer.server.middleware.trusted_host import TrustedHostMiddleware, parse_hosts
from edgeinfer.server.ollama import family as ollama
from edgeinfer.server.openai import family as openai
from edgeinfer.server.openapi import DocumentedApp
from edgeinfer.server.responses import family as responses
from edgeinfer.server.state import AppState
from edgeinfer.server.web import family as web
from edgeinfer.settings import Settings

FAMILIES: tuple[Callable[[], Family], ...] = (
    openai.family,
    anthropic.family,
    responses.family,
    ollama.family,
    llama_server.family,
    admin.family,
    web.family,
)
"""The first one owns the paths that no other claims."""

DESCRIPTION = "HEAD is answered wherever GET is. A slash at the end of a path changes nothing."


def build_app(
    state: AppState,
    *,
    behind_proxy: bool = False,
    warm_up: bool = True,
    own: Key | None = None,
) -> FastAPI:
    """The service as an ASGI application, which begins to load the default model at startup if nobody has.

    Args:
        behind_proxy: another server has checked hosts and origins, and all requests come from its address.
        warm_up: probe the model's chat template before the first request needs it.
        own: a key that is valid besides those of the key file, if there is one.

    Raises:
        SettingsError: the key file or a list of names in the settings is unusable.
    """
    families = Families([family() for family in FAMILIES])
    app = DocumentedApp(
        families,
        wants_key=bool(state.settings.api_key_file),
        title="edgeinfer",
        description=DESCRIPTION,
        version=__version__,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=_lifespan(state, warm_up),
        middleware=middlewares(state, families, behind_proxy=behind_proxy, own=own),
        exception_handlers={
            EdgeinferError: on_error,
            RecursionError: on_error,
            HTTPException: on_http_exception,
        },
    )
    app.state.edgeinfer = state
    for family in families.all:
        app.include_router(family.router())
    return app


def middlewares(
    state: AppState, families: Families, *, behind_proxy: bool, own: Key | None = None
) -> list[Middleware]:
    """The middlewares, the outermost first."""
    settings = state.settings
    stack = [
        Middleware(FamilyMiddleware, families=families),
        Middleware(
            AccessLogMiddleware,
            metrics=state.metrics,
            quiet_paths=families.quiet_paths,
            trace=state.tracing.span if state.tracing else None,
        ),
    ]
    if not behind_proxy:
        stack += _browser_checks(settings)
    if settings.api_key_file:
        keys = KeyFile(Path(settings.api_key_file), own)
        stack.append(
            Middleware(
                AuthMiddleware,
                keys=keys,
                open_paths=families.open_paths,
                share_prefixes=settings.share_prefixes,
            )
        )
    if not behind_proxy:
        limits = Middleware(
            RateLimitMiddleware,
            per_minute=settings.requests_per_minute,
            concurrent=settings.concurrent_requests,
            open_paths=families.open_paths,
        )
        stack.append(limits)
    stack += [
        Middleware(BodyLimitMiddleware, limit=settings.max_body),
        Middleware(HeadRequestMiddleware, families=families),
    ]
    return stack


def _browser_checks(settings: Settings) -> list[Middleware]:
    """The middlewares that refuse foreign web pages."""
    checks = [Middleware(CORSMiddleware, allowed=parse_origins(settings.cors_origins))]
    # Browsers do not reach unix sockets. Beyond loopback keys protect: the daemon cannot know its own names there.
    hosts, port = parse_hosts(settings.allowed_hosts), settings.ollama_port
    if settings.uds is None and (hosts or is_loopback(settings.host)):
        checks.insert(0, Middleware(TrustedHostMiddleware, allowed=hosts))
    elif port is not None:  # which is on loopback
        checks.insert(0, Middleware(TrustedHostMiddleware, allowed=hosts, port=port))
    return checks


def _lifespan(
    state: AppState, warm_up: bool
) -> Callable[[FastAPI], contextlib.AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        state.start(warm_up=warm_up)
        try:
            yield
        finally:
            await state.stop()

    return lifespan
