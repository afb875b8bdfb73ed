"""A file of the web page, compressed once and answered with 304 where the browser has it."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Awaitable, Callable
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

STATIC = Path(__file__).parent / "static"

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Nothing from elsewhere, nothing inline: what a model writes cannot run or load anything."""

HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-cache",  # an ETag is asked for each time, so an update shows at once
    "vary": "accept-encoding",
}

MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}


def static_files() -> list[str]:
    """The files that a browser may load, by their paths below `static/`."""
    files = sorted(path for path in STATIC.rglob("*") if path.suffix in MEDIA_TYPES)
    return [str(path.relative_to(STATIC)) for path in files]


class StaticFile:
    """A file that is read, and compressed, when it is first asked for."""

    def __init__(self, name: str) -> None:
        self._path = STATIC / name
        self._content: tuple[bytes, bytes, str] | None = None

    def response(self, request: Request) -> Response:
        plain, compressed, etag = self._read()
        headers = {**HEADERS, "etag": etag}
        if etag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        if "gzip" in request.headers.get("accept-encoding", ""):
            headers["content-encoding"] = "gzip"
            plain = compressed
        return Response(plain, headers={**headers, "content-type": MEDIA_TYPES[self._path.suffix]})

    def _read(self) -> tuple[bytes, bytes, str]:
        if self._content is None:
            plain = self._path.read_bytes()
            etag = f'"{hashlib.sha256(plain).hexdigest()[:32]}"'
            self._content = plain, gzip.compress(plain, 6, mtime=0), etag
        return self._content


def handler(name: str) -> Callable[[Request], Awaitable[Response]]:
    """A handler that answers with the file of this name."""
    file = StaticFile(name)

    async def static_file(request: Request) -> Response:
        """A file of the web page."""
        return file.response(request)

    return static_file
