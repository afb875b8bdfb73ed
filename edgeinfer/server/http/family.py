"""An API family: a set of routes in somebody's protocol, with the error shape of that protocol."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from edgeinfer.errors import EdgeinferError
from edgeinfer.server.http.request_model import RequestModel
from edgeinfer.serving.model import ServedModel

if TYPE_CHECKING:
    from fastapi import APIRouter

SCOPE_KEY = "edgeinfer.family"

MODELS_PATH = "/v1/models"
"""The path of the models, which several protocols share."""


class Route(msgspec.Struct, frozen=True):
    """A path with its handler, and its description in /openapi.json.

    Attributes:
        body: the model of its JSON body; None if it has no body.
        answers: the possible responses with status 200.
        errors: status -> a response in addition to the family's error. With 501, it has no response with status 200.
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


class ModelsForm(msgspec.Struct, frozen=True):
    """The form in which a family has the models that GET /v1/models lists.

    Several protocols have that path. A request to it that has the header `marker` (in lower case) belongs to the
    family with this form, errors included; every other one belongs to the family that has the route.

    Attributes:
        all: responds to /v1/models with all models; the request may ask for a part of them.
        one: responds to /v1/models/{id}.
    """

    marker: bytes
    all: Callable[[Request, Sequence[ServedModel]], Response]
    one: Callable[[Request, ServedModel], Response]


class Family(msgspec.Struct, frozen=True):
    """One API protocol: its routes, its error shape and its stream format.

    Attributes:
        name: in metrics and docs.
        prefixes: the family owns all paths below these, even those without a route.
        render_error: encodes an error as the body of a response.
        error_type: the struct that `render_error` encodes, for /openapi.json.
        stream_error: encodes an error as the last piece of a stream.
        stream_type: media type of streams.
        request_id_header: another header than X-Request-Id that its clients read a request's id from.
        time_header: tells its clients the milliseconds until the response began; None if they know of none.
        keep_alive: sent in a stream that has had no event for a while; empty where the format has nothing for that.
        any_content_type: bodies are read as JSON, whatever they are declared as.
        models_form: its own form of /v1/models, which another family serves; None if it has none.
    """

    name: str
    routes: Sequence[Route]
    render_error: Callable[[EdgeinferError], bytes]
    error_type: Any
    stream_error: Callable[[EdgeinferError], bytes]
    stream_type: str = "text/event-stream; charset=utf-8"
    request_id_header: str | None = None
    time_header: str | None = None
    keep_alive: bytes = b": keep-alive\n\n"
    prefixes: tuple[str, ...] = ()
    any_content_type: bool = False
    models_form: ModelsForm | None = None

    def router(self) -> APIRouter:
        from fastapi import APIRouter  # takes as long as all else: a daemon imports it while its model loads

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

    def claim(self, path: str) -> int:
        """How much of `path` is the longest prefix of the family's that it is, or is below; 0 if there is none."""
        return max((len(p) for p in self.prefixes if path.startswith(p) or path == p.rstrip("/")), default=0)


class Families:
    """All families of one application.

    The family with the longest prefix of a path owns it, the first one owns the paths that nobody claims.
    """

    def __init__(self, families: Sequence[Family]) -> None:
        self.all = tuple(families)
        self._by_path = {e.path: family for family in self.all for e in family.routes}
        self._by_marker = {f.models_form.marker: f for f in self.all if f.models_form}
        self.open_paths = frozenset(e.path for family in self.all for e in family.routes if e.is_open)
        self.quiet_paths = frozenset(e.path for family in self.all for e in family.routes if e.is_quiet)

    def of(self, path: str, headers: Iterable[tuple[bytes, bytes]] = ()) -> Family:
        """The family that owns a request to `path`."""
        if self._by_marker and (path == MODELS_PATH or path.startswith(f"{MODELS_PATH}/")):
            marked = (self._by_marker[name] for name, _ in headers if name in self._by_marker)
            if family := next(marked, None):
                return family
        if family := self._by_path.get(path):
            return family
        return max(self.all, key=lambda family: family.claim(path))


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
