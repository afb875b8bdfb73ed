"""The web page: chat, and what this machine is doing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response

from edgeinfer.server.http.family import Family, Route
from edgeinfer.server.openai.errors import ErrorEnvelope, render_error, stream_error
from edgeinfer.server.web import pages
from edgeinfer.server.web.static_file import handler, static_files


def family() -> Family:
    """Its files are open, as they hold no secrets; what the page then asks for wants the key."""
    return Family(
        name="web",
        routes=(
            _page("/", pages.welcome),
            _page("/docs", pages.docs),
            *(_page(f"/assets/{name}", handler(name)) for name in static_files() if name != "index.html"),
        ),
        render_error=render_error,
        error_type=ErrorEnvelope,
        stream_error=stream_error,
        prefixes=("/assets/",),
    )


def _page(path: str, answer: Callable[[Request], Awaitable[Response]]) -> Route:
    return Route(path, answer, ("GET",), is_open=True, is_quiet=True, is_documented=False)
