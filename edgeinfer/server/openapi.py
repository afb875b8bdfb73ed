"""/openapi.json: what the routes take and give, from the models that check and the structs that are encoded."""

from __future__ import annotations

import http
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from fastapi import FastAPI
from pydantic.json_schema import models_json_schema

from edgeinfer.server.http.request_model import RequestModel
from edgeinfer.server.llama_server.infill_response import InfillResponse
from edgeinfer.server.llama_server.schemas.infill import InfillRequest
from edgeinfer.server.llama_server.schemas.tokens import DetokenizeRequest, TokenizeRequest
from edgeinfer.server.openai import types as wire
from edgeinfer.server.openai.errors import Envelope
from edgeinfer.server.openai.schemas.chat import ApplyTemplateRequest, ChatRequest
from edgeinfer.server.openai.schemas.completions import CompletionRequest
from edgeinfer.server.openai.schemas.embeddings import EmbeddingsRequest

Schema = dict[str, Any]

REF = "#/components/schemas/"

ANSWER = "Answer"
"""Before the names of structs: some are called as the models of requests are."""

MODELS: tuple[type[RequestModel], ...] = (
    ApplyTemplateRequest,
    ChatRequest,
    CompletionRequest,
    DetokenizeRequest,
    EmbeddingsRequest,
    InfillRequest,
    TokenizeRequest,
)

ANSWERS: Mapping[str, Any] = {
    "/v1/chat/completions": wire.Completion[wire.ChatChoice],
    "/v1/completions": wire.Completion[wire.TextChoice],
    "/infill": InfillResponse,
    "/v1/embeddings": wire.Embeddings,
    "/v1/models": wire.Models,
    "/v1/models/{id}": wire.Model,
    "/tokenize": wire.TokenList,
    "/detokenize": wire.Content,
    "/apply-template": wire.RenderedPrompt,
    "/health": wire.Health,
    "/ready": wire.Readiness,
}

EXAMPLES: Mapping[str, Any] = {
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 16},
    "/v1/completions": {"prompt": "Once upon a time", "max_tokens": 16},
    "/infill": {"input_prefix": "def add(a, b):\n    return ", "input_suffix": "\n", "n_predict": 16},
    "/v1/embeddings": {"input": ["one text", "another"]},
    "/tokenize": {"content": "Hello", "with_pieces": True},
    "/detokenize": {"tokens": [1, 2, 3]},
    "/apply-template": {"messages": [{"role": "user", "content": "Hello"}]},
}

STREAMS = frozenset({"/v1/chat/completions", "/v1/completions", "/infill"})
"""These can also be answered with server-sent events."""

ERRORS = (400, 401, 403, 404, 405, 413, 429, 431, 500, 503)
"""Of every route: most of them come from before it."""

AGAIN = {
    "retry-after": {"description": "Seconds to wait before the next attempt.", "schema": {"type": "string"}}
}

KEYS = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "x-api-key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
}


class Documented(FastAPI):
    """FastAPI whose /openapi.json knows the bodies that `body.read` checks, and what is answered.

    Attributes:
        wants_key: every route but /health and /ready does.
    """

    wants_key = False

    def openapi(self) -> Schema:
        if self.openapi_schema is None:
            self.openapi_schema = _completed(super().openapi(), self.wants_key)
        return self.openapi_schema


def _completed(found: Schema, wants_key: bool) -> Schema:
    schemas = found.setdefault("components", {}).setdefault("schemas", {})
    schemas.update(_requests())
    schemas.update(_answers())
    if wants_key:
        found["components"]["securitySchemes"] = KEYS
    for path, methods in found["paths"].items():
        for operation in methods.values():
            operation["responses"] = dict(_responses(path))
            if path in EXAMPLES:
                body = operation["requestBody"]["content"]["application/json"]
                body["examples"] = {"simple": {"value": EXAMPLES[path]}}
            if wants_key and path not in ("/health", "/ready"):
                operation["security"] = [{name: []} for name in KEYS]
    return found


def _requests() -> Schema:
    _, found = models_json_schema([(m, "validation") for m in MODELS], ref_template=REF + "{model}")
    schemas: Schema = found["$defs"]
    for model in MODELS:
        schemas[model.__name__]["properties"] = _properties(model, schemas[model.__name__])
    return schemas


def _properties(model: type[RequestModel], schema: Schema) -> Schema:
    """As pydantic has them, and what `validate` does before: null is absent, and some names are known.

    What is not supported is not named, though a value that asks for nothing is taken.
    """
    fields = schema["properties"]
    found = {
        name: field if name in schema.get("required", ()) else _or_null(field)
        for name, field in fields.items()
    }
    for name, same in model.synonyms.items():
        found[name] = found[same]
    for name in model.accepted:
        found[name] = {"description": "Changes nothing."}
    return found


def _or_null(field: Schema) -> Schema:
    if any(branch.get("type") == "null" for branch in field.get("anyOf", ())):
        return field
    outside: Schema = {key: field[key] for key in ("default", "title", "description") if key in field}
    inside = {key: value for key, value in field.items() if key not in outside}
    return {"anyOf": [inside, {"type": "null"}], **outside}


def _answers() -> Schema:
    types = [*ANSWERS.values(), Envelope]
    _, found = msgspec.json.schema_components(types, ref_template=REF + ANSWER + "{name}")
    return {ANSWER + name: schema for name, schema in found.items()}


def _responses(path: str) -> Iterator[tuple[str, Schema]]:
    yield "200", {"description": "The answer.", "content": _content(path)}
    for status in ERRORS:
        schemas = [_ref(Envelope)]
        if (path, status) == ("/ready", 503):
            schemas.append(_ref(wire.Readiness))
        error: Schema = {
            "description": http.HTTPStatus(status).phrase,
            "content": {"application/json": {"schema": _any(schemas)}},
        }
        if status in (429, 503):
            error["headers"] = AGAIN
        yield str(status), error


def _content(path: str) -> Schema:
    if path == "/metrics":
        return {"text/plain": {"schema": {"type": "string"}}}
    schemas: list[Schema] = [_ref(ANSWERS[path])] if path in ANSWERS else [{"type": "object"}]
    if path == "/infill":
        schemas.append({"type": "object", "description": "Of it, the fields named by response_fields."})
    found: Schema = {"application/json": {"schema": _any(schemas)}}
    if path in STREAMS:
        found["text/event-stream"] = {}
    return found


def _any(schemas: list[Schema]) -> Schema:
    return schemas[0] if len(schemas) == 1 else {"anyOf": schemas}


def _ref(kind: Any) -> Schema:
    ((found,), _) = msgspec.json.schema_components([kind], ref_template=REF + ANSWER + "{name}")
    return dict(found)
