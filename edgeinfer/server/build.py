"""The ASGI application: routes, the guards around them, and what starts and stops with it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI
from starlette.exceptions import HTTPException

from edgeinfer import __version__
from edgeinfer.chat.template_renderer import TemplateRenderer
from edgeinfer.errors import EdgeinferError
from edgeinfer.grammar.compiler import GrammarCompiler
from edgeinfer.inference.client import EngineClient
from edgeinfer.server.admin import docs, health
from edgeinfer.server.auth.key_file import KeyFile
from edgeinfer.server.http.sockets import is_loopback
from edgeinfer.server.llama_server import infill, tokens
from edgeinfer.server.middleware.access_log import Access
from edgeinfer.server.middleware.body_limit import BodyLimit
from edgeinfer.server.middleware.cors import OriginGuard, parse_origins
from edgeinfer.server.middleware.guards import HostGuard, KeyGuard, parse_hosts
from edgeinfer.server.middleware.rate_limit import CallerLimits
from edgeinfer.server.openai import chat, completions, embeddings, models
from edgeinfer.server.openai import errors as envelope
from edgeinfer.server.openapi import Documented
from edgeinfer.server.state import Choices, Daemon
from edgeinfer.settings import Settings


def create_app(settings: Settings, client: EngineClient, choices: Choices) -> FastAPI:
    """The daemon as an ASGI application. Its lifespan starts and stops `client`.

    Raises:
        SettingsError: the key file is of no use.
    """
    renderer = TemplateRenderer(settings.template_timeout)
    compiler = GrammarCompiler(settings.grammar_timeout)
    daemon = Daemon(settings, client, choices, renderer, compiler)
    app = Documented(
        title="edgeinfer",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=_lifespan,
    )
    app.wants_key = bool(settings.api_key_file)
    app.state.daemon = daemon
    for family in (chat, completions, infill, embeddings, models, tokens, health, docs):
        app.include_router(family.router())
    _handle_errors(app)
    _guard(app, daemon)
    return app


def _handle_errors(app: FastAPI) -> None:
    app.add_exception_handler(EdgeinferError, envelope.on_error)
    app.add_exception_handler(RecursionError, envelope.on_error)
    app.add_exception_handler(HTTPException, envelope.on_http_exception)


def _guard(app: FastAPI, daemon: Daemon) -> None:
    """The last one added is the outermost."""
    settings = daemon.settings
    app.add_middleware(BodyLimit, limit=settings.max_body)
    app.add_middleware(
        CallerLimits, per_minute=settings.requests_per_minute, concurrent=settings.concurrent_requests
    )
    if settings.api_key_file:
        app.add_middleware(KeyGuard, keys=KeyFile(Path(settings.api_key_file)))
    app.add_middleware(OriginGuard, allowed=parse_origins(settings.cors_origins))
    # A browser reaches no unix socket; beyond loopback the key protects, for the daemon cannot know its names.
    hosts = parse_hosts(settings.allowed_hosts)
    if settings.uds is None and (hosts or is_loopback(settings.host)):
        app.add_middleware(HostGuard, allowed=hosts)
    app.add_middleware(Access, metrics=daemon.metrics)


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    daemon: Daemon = app.state.daemon
    await daemon.start()
    try:
        yield
    finally:
        await daemon.stop()
