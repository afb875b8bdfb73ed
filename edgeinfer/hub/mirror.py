"""Serves the store as a hub: an ASGI app for the unmodified huggingface_hub client.

The client needs HF_ENDPOINT=http://board:11436 only. The app is read-only. Names in requests are looked up among
those of the served files and never become paths, so there is no directory to escape from. A repository's `main`
is the newest of its commits here. What the client expects is in https://huggingface.co/docs/hub/api and its code.
Beside the hub it is a package index for pip, see `simple_index`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from pathlib import PurePosixPath
from urllib.parse import parse_qs

import msgspec
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edgeinfer.errors import EdgeinferError
from edgeinfer.hub import repo_index
from edgeinfer.hub.mirror_auth import MirrorAuth, MirrorKeys
from edgeinfer.hub.open_file_response import OpenFileResponse
from edgeinfer.hub.repo_index import Commits, RepoFiles
from edgeinfer.hub.simple_index import SimpleIndex
from edgeinfer.hub.wheel_folder import WheelFolder
from edgeinfer.store.store import Store
from edgeinfer.store.untrusted_json import decode_json

MAIN = "main"
MAX_BODY_BYTES = 1 << 16

MAX_STARTS = 4
"""Downloads that begin at the same time: each goes to threads several times, which everything else would wait for."""

CLIENT_CLOSED_REQUEST = 499
"""nginx's status for it, in the log."""

logger = logging.getLogger(__name__)


class NotMirrored(Exception):
    """The requested repository, revision or file is not here; the client turns `code` into its own exception."""

    def __init__(self, code: str, commit: str | None = None) -> None:
        self.code = code
        self.commit = commit


def mirror_app(
    store: Store,
    *,
    wheels: WheelFolder | None = None,
    keys: MirrorKeys | None = None,
    guard: Callable[[ASGIApp], ASGIApp] = lambda app: app,
) -> ASGIApp:
    """Make the app; with `keys`, every request must bring one, as the client's token or password.

    `wheels` are served to pip. `guard` adds checks; what it refuses is logged like other requests.
    """
    starts = asyncio.Semaphore(MAX_STARTS)
    mirror = _Mirror(store, wheels, starts)
    index = SimpleIndex(wheels, starts).routes() if wheels else []
    repo = "/api/models/{owner}/{name}"
    starlette = Starlette(
        routes=[
            Route("/", mirror.overview),
            Route("/api/models", mirror.models),
            Route(repo, mirror.info),
            Route(repo + "/revision/{revision:path}", mirror.info),
            Route(repo + "/tree/{revision}", mirror.tree),
            Route(repo + "/tree/{revision}/{path:path}", mirror.tree),
            Route(repo + "/paths-info/{revision}", mirror.paths_info, methods=["POST"]),
            Route("/{owner}/{name}/resolve/{revision}/{path:path}", mirror.resolve),
            *index,
        ],
        exception_handlers={
            NotMirrored: _missing,
            HTTPException: _http_error,
            EdgeinferError: _refused,
        },
    )
    starlette.router.redirect_slashes = False
    return _AccessLog(guard(starlette if keys is None else MirrorAuth(starlette, keys)))


def error_body(error: EdgeinferError) -> bytes:
    """Encode an error as the client reads it."""
    return msgspec.json.encode({"error": error.message + (f"; hint: {error.hint}" if error.hint else "")})


class _Mirror:
    """Implements the endpoints; each reads the records again, which takes a millisecond, so nothing is stale."""

    def __init__(self, store: Store, wheels: WheelFolder | None, starts: asyncio.Semaphore) -> None:
        """`starts` limits how many files are opened at a time."""
        self._store = store
        self._wheels = wheels
        self._bundled = repo_index.bundled_file()
        self._starts = starts

    def overview(self, _: Request) -> Response:
        """List the models as text, for browsers."""
        models = [
            f"{repo}  {path}  {file.size:,} bytes"
            for repo, commits in self._served().items()
            for path, file in _newest(commits)[1].items()
        ]
        wheels = [f"\nWheels for pip: {len(self._wheels.wheels())}, at /simple/"] if self._wheels else []
        return PlainTextResponse(
            "".join(f"{line}\n" for line in ["Models of this mirror:", *models, *wheels])
        )

    def models(self, _: Request) -> Response:
        repos = self._served().items()
        return JSONResponse([repo_index.repo_info(repo, *_newest(commits)) for repo, commits in repos])

    def info(self, request: Request) -> Response:
        repo, commit, files = self._commit(request)
        return JSONResponse(repo_index.repo_info(repo, commit, files, blobs="blobs" in request.query_params))

    def tree(self, request: Request) -> Response:
        _, commit, files = self._commit(request)
        recursive = request.query_params.get("recursive", "").lower() == "true"
        if entries := repo_index.tree_entries(
            files, request.path_params.get("path", ""), recursive=recursive
        ):
            return JSONResponse(entries)
        raise NotMirrored("EntryNotFound", commit)

    async def paths_info(self, request: Request) -> Response:
        body = b""
        async for piece in request.stream():
            body += piece
            if len(body) > MAX_BODY_BYTES:
                raise HTTPException(413)
        _, _, files = await run_in_threadpool(self._commit, request)
        return JSONResponse(
            repo_index.path_entries(files, _paths(body, request.headers.get("content-type", "")))
        )

    async def resolve(self, request: Request) -> Response:
        async with self._starts:
            return await run_in_threadpool(self._file, request)

    def _file(self, request: Request) -> Response:
        _, commit, files = self._commit(request)
        path = request.path_params["path"]
        try:
            file = files[path]
            opened = repo_index.open_served(file)
        except (KeyError, OSError) as e:
            raise NotMirrored("EntryNotFound", commit) from e
        headers = {
            "ETag": f'"{file.sha256}"',
            "X-Repo-Commit": commit,
            "X-Linked-Size": str(file.size),
            "X-Linked-Etag": f'"{file.sha256}"',
        }
        return OpenFileResponse(opened, PurePosixPath(path).name, headers, self._starts)

    def _served(self) -> dict[str, Commits]:
        return repo_index.mirrored_repos(self._store, self._bundled)

    def _commit(self, request: Request) -> tuple[str, str, RepoFiles]:
        """Return the repository, commit and files that a request is about."""
        repo = f"{request.path_params['owner']}/{request.path_params['name']}"
        revision = request.path_params.get("revision", MAIN)
        commits = self._served().get(repo)
        if commits is None:
            raise NotMirrored("RepoNotFound")
        if revision == MAIN:
            return repo, *_newest(commits)
        if revision not in commits:
            raise NotMirrored("RevisionNotFound")
        return repo, revision, commits[revision]


def _newest(commits: Commits) -> tuple[str, RepoFiles]:
    return list(commits.items())[-1]


class _PathsRequest(msgspec.Struct):
    paths: list[str]


def _paths(body: bytes, kind: str) -> list[str]:
    """Return the paths in a body, which is a form, as the client sends it, or JSON."""
    try:
        if kind.startswith("application/json"):
            return decode_json(body, _PathsRequest).paths
        return parse_qs(body.decode(), max_num_fields=1000).get("paths", [])
    except ValueError as e:
        raise HTTPException(400) from e


def _missing(_: Request, error: Exception) -> Response:
    assert isinstance(error, NotMirrored)
    headers = {"X-Error-Code": error.code, "X-Error-Message": "not in this mirror"}
    if error.commit:
        headers["X-Repo-Commit"] = error.commit
    return JSONResponse({"error": "not in this mirror"}, 404, headers)


def _http_error(request: Request, error: Exception) -> Response:
    """Answer unknown addresses, such as those of data sets, like missing repositories."""
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        return _missing(request, NotMirrored("RepoNotFound"))
    return JSONResponse({"error": error.detail}, error.status_code, error.headers)


def _refused(_: Request, error: Exception) -> Response:
    """Answer a body that is too large or too slow."""
    assert isinstance(error, EdgeinferError)
    return Response(error_body(error), error.status, media_type="application/json")


class _AccessLog:
    """Logs a line at the end of each request: client, path, status, bytes and duration, no headers or queries."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        status, sent, started = 500, 0, time.perf_counter()

        async def counted(message: Message) -> None:
            nonlocal status, sent
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)
            sent += len(message.get("body", b""))

        try:
            await self.app(scope, receive, counted)
        except ClientDisconnect:
            status = CLIENT_CLOSED_REQUEST
        finally:
            logger.info(
                "%s %s %s %d %d bytes %.1f s",
                (scope.get("client") or ("-",))[0],
                scope["method"],
                scope["path"][:200],
                status,
                sent,
                time.perf_counter() - started,
            )
