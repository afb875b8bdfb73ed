"""GET / and GET /docs: the web page for people, and for programs the line that Ollama's clients look for."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response

from edgeinfer import __version__
from edgeinfer.server.http.json_response import json_response
from edgeinfer.server.web.static_file import StaticFile

PAGE = StaticFile("index.html")

OLLAMA = "Ollama is running"
"""Some clients compare all of it."""


async def welcome(request: Request) -> Response:
    """What is here."""
    accepted = request.headers.get("accept", "")
    if "text/html" in accepted:
        response = PAGE.response(request)
    elif "application/json" in accepted:
        response = json_response({"name": "edgeinfer", "version": __version__, "docs": "/docs"})
    else:
        response = PlainTextResponse(OLLAMA)
    response.headers.add_vary_header("Accept")
    return response


async def docs(request: Request) -> Response:
    """The page, at its view of the API. With a slash at its end, the files that it refers to would not be found."""
    if request.scope["raw_path"].endswith(b"/"):
        return RedirectResponse("../docs")
    return PAGE.response(request)
