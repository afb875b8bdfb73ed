"""An API family: a set of routes in somebody's protocol, with the error shape of that protocol."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
from fastapi import APIRouter
from starlette.types import Scope

from edgeinfer.errors import EdgeinferError
from edgeinfer.server.http.request_model import RequestModel

SCOPE_KEY = "edgeinfer.family"


class Route(msgspec.Struct, frozen=True):
    """A path with its handler, and its description in /openapi.json.

    Attributes:
        body: the model of its JSON body; None if it has no body.
        answers: the possible responses with status 200.
        errors: status -> a response in addition to the family's error.
        streams: it can also respond with a stream of the family's type.
        media_type: of the response.
        is_open: it needs no key and counts against no limit: monitoring has no key, and polls often.
        is_quiet: it is logged at debug level only.
    """

    path: str
    handler: Callable[..., Any]
    methods: tuple[str, ...] = ("POST",)
    body: type[RequestModel] | None = None
    answers: tuple[Any, ...] = ()
    errors: Mapping[int, Any] = {}
    example: Any = None
    streams: bool = False
    media_type: str = "application/json"
    is_open: bool = False
    is_quiet: bool = False
    is_documented: bool = True

    @property
    def documented_path(self) -> str:
        """The path in OpenAPI's syntax, without converters."""
        return re.sub(r":\w+}", "}", self.path)


class Family(msgspec.Struct, frozen=True):
    """One API protocol: its routes, its error shape and its stream format.

    Attributes:
        name: in metrics and docs.
        prefixes: the family owns all paths below these, even those without a route.
        render_error: encodes an error as the body of a response.
        error_type: the struct that `render_error` encodes, for /openapi.json.
        stream_error: encodes an error as the last piece of a stream.
        stream_type: media type of streams.
        keep_alive: sent in a stream that has had no event for a while; empty where the format has nothing for that.
    """

    name: str
    routes: Sequence[Route]
    render_error: Callable[[EdgeinferError], bytes]
    error_type: Any
    stream_error: Callable[[EdgeinferError], bytes]
    stream_type: str = "text/event-stream; charset=utf-8"
    keep_alive: bytes = b": keep-alive\n\n"
    prefixes: tuple[str, ...] = ()

    def router(self) -> APIRouter:
        router = APIRouter(tags=[self.name])
        for route in self.routes:
            router.add_api_route(
                route.path,
                route.handler,
                methods=list(route.methods),
                include_in_schema=route.is_documented,
                openapi_extra=_request_body(route),
            )
        return router

    def owns(self, path: str) -> bool:
        """True if `path` is below one of the family's prefixes."""
        return path.startswith(self.prefixes) if self.prefixes else False


class Families:
    """All families of one application. The first one owns the paths that no other claims."""

    def __init__(self, families: Sequence[Family]) -> None:
        self.all = tuple(families)
        self._by_path = {e.path: family for family in self.all for e in family.routes}
        self.open_paths = frozenset(e.path for family in self.all for e in family.routes if e.is_open)
        self.quiet_paths = frozenset(e.path for family in self.all for e in family.routes if e.is_quiet)

    def of(self, path: str) -> Family:
        """The family that owns `path`."""
        if family := self._by_path.get(path):
            return family
        return next((family for family in self.all if family.owns(path)), self.all[0])


def family_of(scope: Scope) -> Family:
    """The family that owns the path of a request."""
    family = scope[SCOPE_KEY]
    assert isinstance(family, Family)
    return family


def _request_body(route: Route) -> dict[str, Any] | None:
    """The body's entry in /openapi.json; `server.openapi` adds the model itself."""
    if route.body is None:
        return None
    schema = {"$ref": f"#/components/schemas/{route.body.__name__}"}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}
