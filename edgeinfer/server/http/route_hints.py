"""Tells clients that call a route we lack which one does what they want."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence

INSTEAD: Mapping[str, str] = {
    "/embedding": "POST /v1/embeddings",
    "/v1/complete": "POST /v1/messages",
    "/v1/chat": "POST /v1/chat/completions",
    "/v1/score": "POST /v1/rerank",
    "/redoc": "/docs",
    "/swagger": "/docs",
    "/v1/messages/batches": "POST /v1/messages, once for each message of the batch",
}
"""Routes of other APIs, which may have others below them, and the routes to use in their place."""

TYPO = 0.95
"""Similarity of a path to a route that makes it a typing error, whatever other route it ends with."""

LIKENESS = 0.79
"""Similarity below which a route is another one: /v1/moderations is not /v1/completions."""

MAX_PATH = 64
"""Characters of a path that is compared with our routes."""


def route_hint(path: str, routes: Iterable[str]) -> str:
    """The hint for a path that leads nowhere; `routes` are the paths that there are."""
    path = re.sub("/{2,}", "/", path.lower()).rstrip("/")
    known = sorted({route for route in routes if "{" not in route and route != "/"}, key=len, reverse=True)
    if path not in known and len(path) <= MAX_PATH and (near := _nearest(path, known, TYPO)):
        return f"did you mean {near}?"
    for route in known:
        if path == f"/v1{route}" and route.startswith("/v1/"):
            return f"use {route}: the base URL of a client has one /v1 too many"
        if path.endswith(route):
            return f"use {route}"
        if route.startswith("/v1/") and path.endswith(route.removeprefix("/v1")):
            return f"use {route}: the base URL of a client ends with /v1"
    for other, ours in INSTEAD.items():
        if f"{path}/".startswith(f"{other}/"):
            return f"use {ours}"
    near = _nearest(path, known) if len(path) <= MAX_PATH else None
    return f"did you mean {near}?" if near else "/openapi.json lists the routes"


def _nearest(path: str, known: Sequence[str], cutoff: float = LIKENESS) -> str | None:
    return next(iter(difflib.get_close_matches(path, known, n=1, cutoff=cutoff)), None)


def method_hint(methods: Iterable[str]) -> str:
    """The hint for a path that has only these methods."""
    return "use " + " or ".join(method for method in methods if method != "HEAD")
