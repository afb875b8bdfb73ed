"""Serves wheels to pip: a package index, as PEP 503 (HTML) and PEP 691 (JSON) describe it.

    /simple/                     the projects
    /simple/PROJECT/             the files of one
    /wheels/FILE.whl             a file
    /wheels/FILE.whl.metadata    its metadata (PEP 658)

Names are looked up among those of the files in the folder and never become paths. A slash at the end of an address
does not matter, so links are not relative to it.
"""

from __future__ import annotations

import asyncio
from html import escape
from typing import Any
from urllib.parse import quote

from packaging.utils import canonicalize_name
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from edgeinfer.hub.open_file_response import OpenFileResponse
from edgeinfer.hub.wheel_folder import Wheel, WheelFolder, open_wheel

JSON = "application/vnd.pypi.simple.v1+json"
HTML = "application/vnd.pypi.simple.v1+html"
TYPES = {
    JSON: JSON,
    "application/vnd.pypi.simple.latest+json": JSON,
    HTML: HTML,
    "application/vnd.pypi.simple.latest+html": HTML,
    "text/html": "text/html",
}
API_VERSION = "1.1"


class SimpleIndex:
    """The routes of an index of the wheels in `folder`; `starts` limits how many files are opened at a time."""

    def __init__(self, folder: WheelFolder, starts: asyncio.Semaphore) -> None:
        self._folder = folder
        self._starts = starts

    def routes(self) -> list[Route]:
        return [
            Route("/simple", self.projects),
            Route("/simple/", self.projects),
            Route("/simple/{project}", self.files),
            Route("/simple/{project}/", self.files),
            Route("/wheels/{file}.metadata", self.metadata),
            Route("/wheels/{file}", self.wheel),
        ]

    def projects(self, request: Request) -> Response:
        projects = list(self._folder.projects())
        entries = [f'<a href="/simple/{project}/">{project}</a>' for project in projects]
        listing = {"meta": _meta(), "projects": [{"name": project} for project in projects]}
        return _page(request, "Packages of this mirror", entries, listing)

    def files(self, request: Request) -> Response:
        project = canonicalize_name(request.path_params["project"])
        wheels = self._folder.projects().get(project)
        if wheels is None:
            raise HTTPException(404)
        listing = {
            "meta": _meta(),
            "name": project,
            "versions": sorted({wheel.version for wheel in wheels}),
            "files": [_file_entry(wheel) for wheel in wheels],
        }
        return _page(request, project, [_link(wheel) for wheel in wheels], listing)

    async def wheel(self, request: Request) -> Response:
        async with self._starts:
            return await run_in_threadpool(self._file, request)

    def _file(self, request: Request) -> Response:
        wheel = self._find(request)
        try:
            file = open_wheel(wheel)
        except OSError as e:
            raise HTTPException(404) from e
        return OpenFileResponse(file, wheel.path.name, {"ETag": f'"{wheel.sha256}"'}, self._starts)

    def metadata(self, request: Request) -> Response:
        wheel = self._find(request)
        headers = {"ETag": f'"{wheel.metadata_sha256}"', "X-Content-Type-Options": "nosniff"}
        return Response(wheel.metadata, headers=headers, media_type="application/octet-stream")

    def _find(self, request: Request) -> Wheel:
        wheel = self._folder.wheels().get(request.path_params["file"])
        if wheel is None:
            raise HTTPException(404)
        return wheel


def _meta() -> dict[str, str]:
    return {"api-version": API_VERSION}


def _address(wheel: Wheel) -> str:
    return f"/wheels/{quote(wheel.path.name)}"


def _link(wheel: Wheel) -> str:
    attributes = f' data-core-metadata="sha256={wheel.metadata_sha256}"'
    if wheel.requires_python:
        attributes += f' data-requires-python="{escape(wheel.requires_python)}"'
    name = escape(wheel.path.name)
    return f'<a href="{_address(wheel)}#sha256={wheel.sha256}"{attributes}>{name}</a>'


def _file_entry(wheel: Wheel) -> dict[str, Any]:
    entry = {
        "filename": wheel.path.name,
        "url": _address(wheel),
        "hashes": {"sha256": wheel.sha256},
        "size": wheel.size,
        "core-metadata": {"sha256": wheel.metadata_sha256},
    }
    return entry | ({"requires-python": wheel.requires_python} if wheel.requires_python else {})


def _page(request: Request, title: str, links: list[str], listing: dict[str, Any]) -> Response:
    """Answer in the form that the client prefers."""
    kind = preferred_type(request.headers.get("accept", ""))
    headers = {"Vary": "Accept", "X-Content-Type-Options": "nosniff"}
    if kind == JSON:
        return JSONResponse(listing, headers=headers, media_type=JSON)
    body = "".join(f"    {link}<br>\n" for link in links)
    return HTMLResponse(
        f"<!DOCTYPE html>\n<html>\n  <head>\n"
        f'    <meta name="pypi:repository-version" content="{API_VERSION}">\n'
        f"    <title>{title}</title>\n  </head>\n  <body>\n{body}  </body>\n</html>\n",
        headers=headers,
        media_type=kind,
    )


def preferred_type(accept: str) -> str:
    """Return the content type of an index that an Accept header prefers; HTML if it names none."""
    best, chosen = 0.0, "text/html"
    for choice in accept.split(","):
        name, *parameters = (part.strip().lower() for part in choice.split(";"))
        if name in TYPES and (quality := _quality(parameters)) > best:
            best, chosen = quality, TYPES[name]
    return chosen


def _quality(parameters: list[str]) -> float:
    for parameter in parameters:
        if parameter.startswith("q="):
            try:
                return min(float(parameter[2:]), 1.0)
            except ValueError:
                return 0.0
    return 1.0
