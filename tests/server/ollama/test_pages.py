"""Web pages of others: bodies need no type here, so Host and Origin alone hold their requests off."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.support.ollama import HI, scripted
from tests.support.server import Scripted, Served, serving

BODY = json.dumps({"model": "scripted", "messages": HI}).encode()


@pytest.fixture
def model() -> Scripted:
    return scripted("Hi")


@pytest.fixture
def served(model: Scripted) -> Iterator[Served]:
    with serving(model) as daemon:
        yield daemon


@pytest.mark.parametrize("kind", ["text/plain;charset=UTF-8", "application/x-www-form-urlencoded", None])
@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost:3000"])
@pytest.mark.parametrize("path", ["/api/chat", "/api/generate", "/api/pull", "/api/show"])
def test_a_simple_request_of_a_foreign_page_is_refused(
    served: Served, model: Scripted, kind: str | None, origin: str, path: str
) -> None:
    """As a browser sends it for `fetch(url, {method: "POST", mode: "no-cors", body})`: there is no preflight."""
    headers = {"origin": origin, "sec-fetch-mode": "no-cors", "sec-fetch-site": "cross-site"}
    if kind:
        headers["content-type"] = kind
    response = served.client.post(path, content=BODY, headers=headers)
    assert (403, ["error"]) == (response.status_code, list(response.json()))
    assert [] == model.requests


def test_a_page_whose_name_was_rebound_is_refused(served: Served, model: Scripted) -> None:
    """Its requests have no foreign origin, but its own name as Host."""
    response = served.client.post("/api/chat", content=BODY, headers={"host": "evil.example"})
    assert (403, []) == (response.status_code, model.requests)


def test_a_page_may_not_delete(served: Served) -> None:
    """The preflight request of DELETE is refused."""
    headers = {"origin": "https://evil.example", "access-control-request-method": "DELETE"}
    assert 403 == served.client.options("/api/delete", headers=headers).status_code


def test_no_type_is_needed_where_no_page_is_involved(served: Served) -> None:
    """curl sends the type of a form, others send none."""
    for headers in ({}, {"content-type": "application/x-www-form-urlencoded"}):
        response = served.client.post("/api/chat", content=BODY, headers=headers)
        assert (200, "application/x-ndjson") == (response.status_code, response.headers["content-type"])
    plain = served.client.post("/v1/chat/completions", content=BODY)
    assert 400 == plain.status_code
