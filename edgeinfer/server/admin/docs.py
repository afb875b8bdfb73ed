"""GET /docs: the API on one page, without scripts or a network. FastAPI's own page needs a CDN."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response

from edgeinfer import __version__
from edgeinfer.server.http.json_response import json_response
from edgeinfer.server.openapi import REF
from edgeinfer.server.web.static_file import StaticFile

POLICY = "default-src 'none'; style-src 'unsafe-inline'"

STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:60em;margin:2em auto;padding:0 1em}
code,h2{font-family:ui-monospace,monospace}h2{font-size:1em;margin-top:2em}
td{padding:.1em 1.5em .1em 0;vertical-align:top}@media(prefers-color-scheme:dark)
{body{background:#181818;color:#ddd}}"""

PAGE = StaticFile("index.html")

OLLAMA = "Ollama is running"
"""The text that Ollama's clients look for. Some compare all of it."""


async def welcome(request: Request) -> Response:
    """What is here: the web page for people, and for programs the line of Ollama."""
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
    """The API on one page."""
    return HTMLResponse(page(request.app.openapi()), headers={"content-security-policy": POLICY})


def page(api: Mapping[str, Any]) -> str:
    """`api` (an OpenAPI document) as HTML."""
    title = f"{escape(api['info']['title'])} {escape(api['info']['version'])}"
    routes = "".join(
        _route(api, path, method, about)
        for path, methods in api["paths"].items()
        for method, about in methods.items()
    )
    head = f"<!doctype html><meta charset=utf-8><title>{title}</title><style>{STYLE}</style><h1>{title}</h1>"
    return f'{head}<p><a href="openapi.json">openapi.json</a></p>{routes}'


def _route(api: Mapping[str, Any], path: str, method: str, about: Mapping[str, Any]) -> str:
    text = escape(about.get("description") or "")
    fields = "".join(_fields(api, about))
    return f"<h2>{method.upper()} {escape(path)}</h2><p>{text}</p><table>{fields}</table>"


def _fields(api: Mapping[str, Any], about: Mapping[str, Any]) -> Iterator[str]:
    body = about.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
    model = api["components"]["schemas"].get(body.get("$ref", "").removeprefix(REF), {})
    for name, field in model.get("properties", {}).items():
        needed = " (required)" if name in model.get("required", ()) else ""
        yield f"<tr><td><code>{escape(name)}</code><td>{escape(_kind(field))}{needed}"


def _kind(field: Mapping[str, Any]) -> str:
    """A field's type in a few words."""
    if branches := field.get("anyOf"):
        return " | ".join(_kind(branch) for branch in branches if branch.get("type") != "null")
    if ref := field.get("$ref"):
        return str(ref).removeprefix(REF)
    if values := field.get("enum"):
        return " | ".join(map(str, values))
    if field.get("type") == "array":
        return f"list of {_kind(field.get('items', {}))}"
    return " ".join([str(field.get("type", "any")), *_bounds(field)])


def _bounds(field: Mapping[str, Any]) -> Iterator[str]:
    signs = {"minimum": ">=", "maximum": "<=", "exclusiveMinimum": ">", "exclusiveMaximum": "<"}
    for name, sign in signs.items():
        if name in field:
            yield f"{sign} {field[name]}"
