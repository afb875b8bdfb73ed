"""Builds /openapi.json from the models that check requests and the structs that responses are encoded from."""

from __future__ import annotations

import asyncio
import http
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from fastapi import FastAPI
from pydantic.json_schema import models_json_schema
from starlette.requests import Request
from starlette.responses import Response

from edgeinfer.errors import NotImplementedHere
from edgeinfer.server.http.family import Families, Family, Route
from edgeinfer.server.http.headers import IGNORED
from edgeinfer.server.http.request_model import RequestModel

Schema = dict[str, Any]

REF = "#/components/schemas/"

ANSWER = "Answer"
"""Prefix of the names of structs: some are called like the model of a request."""

ERRORS = (400, 401, 403, 404, 405, 413, 429, 431, 500, 503)
"""Statuses that every route may have: most come from the middlewares."""

REFUSED = NotImplementedHere.status
"""The only answer of a route that has this among its errors, but for those that every route may have."""

RETRY_AFTER_HEADER = {
    "retry-after": {"description": "Seconds to wait before the next attempt.", "schema": {"type": "string"}}
}

IGNORED_HEADER = {
    IGNORED: {"description": "The fields of the request that were ignored.", "schema": {"type": "string"}}
}

KEYS = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "x-api-key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
}


class DocumentedApp(FastAPI):
    """FastAPI whose /openapi.json has the bodies that `http.body` checks, and the responses."""

    def __init__(self, families: Families, *, wants_key: bool, **options: Any) -> None:
        """`wants_key`: every route that is not open needs a key."""
        self._document = b""
        self._making = asyncio.Lock()
        super().__init__(**options)
        self.families = families
        self.wants_key = wants_key

    def setup(self) -> None:
        assert self.openapi_url
        self.add_route(self.openapi_url, self._send_document, include_in_schema=False)

    async def _send_document(self, _request: Request) -> Response:
        # It takes a tenth of a second to make, longer than anything may keep the event loop, and then it stays the same.
        async with self._making:
            self._document = self._document or await asyncio.to_thread(self._encoded)
        return Response(self._document, media_type="application/json")

    def _encoded(self) -> bytes:
        return msgspec.json.encode(self.openapi())

    def openapi(self) -> Schema:
        if self.openapi_schema is None:
            self.openapi_schema = _completed(super().openapi(), self.families.all, self.wants_key)
        return self.openapi_schema


def _completed(document: Schema, families: Sequence[Family], wants_key: bool) -> Schema:
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    documented = [(f, e) for f in families for e in f.routes if e.is_documented]
    schemas.update(_requests([e.body for _, e in documented if e.body]))
    types = [t for _, e in documented for t in (*e.answers, *e.errors.values())]
    schemas.update(_answers([*types, *(family.error_type for family in families)]))
    if wants_key:
        document["components"]["securitySchemes"] = KEYS
    for family, route in documented:
        for method in route.methods:
            operation = document["paths"][route.documented_path][method.lower()]
            operation["responses"] = dict(_responses(family, route))
            if route.example is not None:
                body = operation["requestBody"]["content"]["application/json"]
                body["examples"] = {"simple": {"value": route.example}}
            if wants_key and not route.is_open:
                operation["security"] = [{name: []} for name in KEYS]
    return document


def _requests(models: Sequence[type[RequestModel]]) -> Schema:
    if not models:
        return {}
    _, document = models_json_schema([(m, "validation") for m in models], ref_template=REF + "{model}")
    schemas: Schema = document["$defs"]
    for model in models:
        schemas[model.__name__]["properties"] = _properties(model, schemas[model.__name__])
    return schemas


def _properties(model: type[RequestModel], schema: Schema) -> Schema:
    """Pydantic's properties, with what `validate` adds: null counts as absent, and some names are accepted.

    Unsupported fields are left out, although their harmless values are accepted.
    """
    fields = schema["properties"]
    properties = {
        name: field if name in schema.get("required", ()) else _or_null(field)
        for name, field in fields.items()
    }
    for name, same in model.synonyms.items():
        properties[name] = _or_null(properties[same])
    for name in model.accepted:
        properties[name] = {"description": "Has no effect."}
    return properties


def _or_null(field: Schema) -> Schema:
    if any(branch.get("type") == "null" for branch in field.get("anyOf", ())):
        return field
    outside: Schema = {key: field[key] for key in ("default", "title", "description") if key in field}
    inside = {key: value for key, value in field.items() if key not in outside}
    return {"anyOf": [inside, {"type": "null"}], **outside}


def _answers(types: Sequence[Any]) -> Schema:
    structs = [kind for kind in types if not isinstance(kind, dict)]
    _, components = msgspec.json.schema_components(structs, ref_template=REF + ANSWER + "{name}")
    return {ANSWER + name: schema for name, schema in components.items()}


def _responses(family: Family, route: Route) -> Iterator[tuple[str, Schema]]:
    if REFUSED not in route.errors:
        headers = {"headers": IGNORED_HEADER} if route.body else {}
        yield "200", {"description": "The response.", "content": _content(family, route), **headers}
    for status in sorted({*ERRORS, *route.errors}):
        other = route.errors.get(status, family.error_type)
        kinds = [family.error_type, *([] if other is family.error_type else [other])]
        error: Schema = {
            "description": http.HTTPStatus(status).phrase,
            "content": {"application/json": {"schema": _any([_schema(kind) for kind in kinds])}},
        }
        if status in (429, 503):
            error["headers"] = RETRY_AFTER_HEADER
        yield str(status), error


def _content(family: Family, route: Route) -> Schema:
    schemas = [_schema(kind) for kind in route.answers] or [{"type": "object"}]
    content: Schema = {route.media_type: {"schema": _any(schemas)}}
    if route.streams:
        content[family.stream_type.partition(";")[0]] = {}
    return content


def _any(schemas: list[Schema]) -> Schema:
    return schemas[0] if len(schemas) == 1 else {"anyOf": schemas}


def _schema(kind: Any) -> Schema:
    """A reference to a struct's schema; a schema is returned unchanged."""
    if isinstance(kind, dict):
        return kind
    ((schema,), _) = msgspec.json.schema_components([kind], ref_template=REF + ANSWER + "{name}")
    return dict(schema)
