"""The daemon is what /openapi.json says of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edgeinfer.errors import SettingsError, all_errors
from edgeinfer.server.build import FAMILIES
from edgeinfer.server.http.family import Families
from edgeinfer.server.llama_server.family import RERANK_PATHS
from edgeinfer.server.openapi import ERRORS, REFUSED
from tests.support.server import Scripted, Served, serving

ROUTES = [route for family in FAMILIES for route in family().routes if route.is_documented]
METHODS = {route.path: route.methods[0] for route in ROUTES}
EXAMPLES = {route.path: route.example for route in ROUTES if route.example}


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with serving(Scripted()) as found:
        yield found


@pytest.fixture(scope="module")
def document(served: Served) -> dict[str, Any]:
    found: dict[str, Any] = served.client.get("/openapi.json").json()
    return found


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for operation in methods.values():
            yield path, operation


def test_every_error_there_is_is_documented_for_every_route(document: dict[str, Any]) -> None:
    """With the envelope, and the time to wait where that helps."""
    statuses = {cls.status for cls in all_errors().values() if not issubclass(cls, SettingsError)}
    assert statuses <= {*ERRORS, REFUSED}
    families = Families([family() for family in FAMILIES])
    for path, operation in operations(document):
        envelope = f"Answer{families.of(path).error_type.__name__}"
        assert set(operation["responses"]) - {"200", str(REFUSED)} == set(map(str, ERRORS))
        for status in map(str, ERRORS):
            schema = operation["responses"][status]["content"]["application/json"]["schema"]
            assert envelope in str(schema)
        assert "retry-after" in operation["responses"]["429"]["headers"]


def test_every_answer_is_described(document: dict[str, Any]) -> None:
    """But that of /status, which is for people, and of /metrics, which is no JSON."""
    paths = set(document["paths"])
    answering = {route.documented_path for route in ROUTES if route.answers or REFUSED in route.errors}
    assert answering | {"/status"} == paths
    for path, operation in operations(document):
        if str(REFUSED) in operation["responses"]:
            assert "200" not in operation["responses"]
            continue
        kinds = set(operation["responses"]["200"]["content"])
        expected = {"text/plain"} if path == "/metrics" else {"application/json"}
        assert kinds - {"text/event-stream", "application/x-ndjson"} == expected
    assert "text/event-stream" in str(document["paths"]["/v1/chat/completions"])


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    """Requests and answers of the same name are kept apart."""
    schemas = document["components"]["schemas"]
    references = set(re.findall(r"'#/components/schemas/([^']+)'", str(document)))
    assert references <= set(schemas)
    assert schemas["ChatMessageParam"] != schemas["AnswerChatMessage"]


def test_every_field_that_is_taken_is_documented(document: dict[str, Any]) -> None:
    """Also what changes nothing, and other names; null is absent."""
    for model in (route.body for route in ROUTES if route.body):
        properties = document["components"]["schemas"][model.__name__]["properties"]
        known = {*model.model_fields, *model.accepted, *model.synonyms}
        assert set(properties) == known
    chat = document["components"]["schemas"]["ChatRequest"]["properties"]
    assert {"type": "null"} in chat["stream"]["anyOf"]
    assert "anyOf" not in chat["messages"]


@pytest.mark.parametrize("path", EXAMPLES)
def test_the_examples_work(served: Served, path: str) -> None:
    """A newcomer copies them."""
    found = served.client.request(METHODS[path], path, json=EXAMPLES[path])
    # This model can neither fill in nor rerank, and the default one cannot be deleted.
    assert found.status_code == (400 if path in ("/infill", "/api/delete", *RERANK_PATHS) else 200)


def test_keys_are_documented_where_they_are_asked_for(tmp_path: Path, document: dict[str, Any]) -> None:
    """Either header, for all but those who watch."""
    assert "securitySchemes" not in document["components"]
    keys = tmp_path / "keys"
    keys.write_text("alpha\n")
    keys.chmod(0o600)
    with serving(Scripted(), api_key_file=str(keys)) as served:
        found = served.client.get("/openapi.json", headers={"x-api-key": "alpha"}).json()
    assert set(found["components"]["securitySchemes"]) == {"bearer", "x-api-key"}
    assert {path for path, operation in operations(found) if "security" not in operation} == {
        "/health",
        "/ready",
        "/v1/health",
    }
