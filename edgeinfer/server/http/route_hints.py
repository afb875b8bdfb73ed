"""Tells clients that call a route we lack which one does what they want."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping

INSTEAD: Mapping[str, str] = {
    "/embedding": "POST /v1/embeddings",
    "/v1/complete": "POST /v1/messages",
    "/v1/messages/batches": "POST /v1/messages, once for each message of the batch",
}
"""Routes of other APIs, which may have others below them, and the routes to use in their place."""

MAX_PATH = 64
"""Characters of a path that is compared with our routes."""


def route_hint(path: str, routes: Iterable[str]) -> str:
    """The hint for a path that leads nowhere; `routes` are the paths that there are."""
    path = re.sub("/{2,}", "/", path.lower()).rstrip("/")
    known = sorted({route for route in routes if "{" not in route and route != "/"}, key=len, reverse=True)
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
    near = difflib.get_close_matches(path, known, n=1) if len(path) <= MAX_PATH else []
    return f"did you mean {near[0]}?" if near else "/openapi.json lists the routes"


def method_hint(methods: Iterable[str]) -> str:
    """The hint for a path that has only these methods."""
    return "use " + " or ".join(method for method in methods if method != "HEAD")
