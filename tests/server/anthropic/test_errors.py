"""Errors in Anthropic's shape, wherever a request fails."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from edgeinfer.errors import (
    ContextLengthExceeded,
    DecodeFailed,
    EdgeinferError,
    Forbidden,
    InvalidRequest,
    ModelNotFound,
    NotReady,
    PayloadTooLarge,
    QueueFull,
    Unauthorized,
    all_errors,
)
from edgeinfer.server.anthropic import family as anthropic
from edgeinfer.server.anthropic.errors import render_error
from edgeinfer.server.http.errors import error_response
from edgeinfer.server.http.family import SCOPE_KEY
from tests.support.anthropic import answer, post
from tests.support.server import Scripted, Served, serving


def error(response: httpx.Response) -> dict[str, Any]:
    """The error. Fails if the envelope is not Anthropic's."""
    envelope: dict[str, Any] = response.json()
    assert list(envelope) == ["type", "error", "request_id"]
    assert envelope["type"] == "error"
    assert envelope["request_id"] == response.headers["request-id"] == response.headers["x-request-id"]
    assert list(envelope["error"]) == ["type", "message"]
    found: dict[str, Any] = envelope["error"]
    return found


@pytest.mark.parametrize(
    ("cls", "type"),
    [
        (InvalidRequest, "invalid_request_error"),
        (Unauthorized, "authentication_error"),
        (Forbidden, "permission_error"),
        (ModelNotFound, "not_found_error"),
        (PayloadTooLarge, "request_too_large"),
        (QueueFull, "rate_limit_error"),
        (NotReady, "overloaded_error"),
        (DecodeFailed, "api_error"),
    ],
)
def test_the_type_is_that_of_the_status(cls: type[EdgeinferError], type: str) -> None:
    assert f'"type":"{type}"' in render_error(cls("what")).decode()


@pytest.mark.parametrize("cls", all_errors().values())
def test_every_error_says_everything_in_its_message(cls: type[EdgeinferError]) -> None:
    response = error_response(
        {SCOPE_KEY: anthropic.family(), "edgeinfer.id": "r1"}, cls("what", param="field", hint="do it")
    )
    text = bytes(response.body).decode()
    assert response.status_code == cls.status
    assert all(part in text for part in ("what", "do it", '"request_id":"r1"'))
    assert "field" in text or cls is ContextLengthExceeded


def test_a_name_of_anthropic_s_says_how_it_can_mean_a_model_of_ours() -> None:
    with serving(Scripted("Hi")) as served:
        response = post(served, model="claude-opus-4-1")
    found = error(response)
    assert (response.status_code, found["type"]) == (404, "not_found_error")
    for part in ("'claude-opus-4-1'", "'scripted'", 'aliases = ["claude-opus-4-1"]', "[models.NAME]"):
        assert part in found["message"]


def test_an_alias_makes_it_one() -> None:
    tables = {"scripted": {"aliases": ["claude-opus-4-1"]}}
    with serving(Scripted("Hi"), models=tables) as served:
        assert answer(post(served, model="claude-opus-4-1"))["model"] == "scripted"


@pytest.mark.parametrize("path", ["/v1/messages/batches", "/v1/messages/batches/b1/results", "/v1/complete"])
def test_routes_that_are_not_there_say_what_to_use(served: Served, path: str) -> None:
    response = served.client.post(path, json={})
    found = error(response)
    assert (response.status_code, found["type"]) == (404, "not_found_error")
    assert "use POST /v1/messages" in found["message"]


def test_another_method_is_refused(served: Served) -> None:
    response = served.client.put("/v1/messages")
    assert (response.status_code, error(response)["type"]) == (405, "invalid_request_error")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A daemon that refuses much."""
    keys: Path = tmp_path_factory.mktemp("keys") / "keys"
    keys.write_text("alpha\n")
    keys.chmod(0o600)
    with serving(Scripted("Hi"), api_key_file=str(keys), requests_per_minute=200, max_body=2000) as served:
        served.client.headers["x-api-key"] = "alpha"
        yield served


def ask(served: Served, text: str = "Hi", **headers: str) -> httpx.Response:
    body = {"max_tokens": 5, "messages": [{"role": "user", "content": text}]}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.post(f"{served.url}/v1/messages", json=body, headers=named)


def test_either_header_may_have_the_key(served: Served) -> None:
    assert ask(served, x_api_key="alpha").status_code == 200
    assert ask(served, authorization="Bearer alpha").status_code == 200
    assert ask(served, x_api_key="alpha", authorization="Bearer alpha").status_code == 200
    for headers in ({}, {"x_api_key": "beta"}, {"authorization": "Bearer beta"}):
        response = ask(served, **headers)
        assert (response.status_code, error(response)["type"]) == (401, "authentication_error")


def test_what_a_middleware_refuses_has_the_shape_too(served: Served) -> None:
    """A foreign page or name, and a body that is too large."""
    for headers in ({"origin": "https://evil.example"}, {"host": "evil.example"}):
        response = ask(served, x_api_key="alpha", **headers)
        assert (response.status_code, error(response)["type"]) == (403, "permission_error")
    response = ask(served, "x" * 3000, x_api_key="alpha")
    assert (response.status_code, error(response)["type"]) == (413, "request_too_large")


def test_a_caller_beyond_its_limit_learns_when_to_come_again() -> None:
    with serving(Scripted("Hi"), requests_per_minute=1) as served:
        answer(post(served))
        response = post(served)
    assert (response.status_code, error(response)["type"]) == (429, "rate_limit_error")
    assert int(response.headers["retry-after"]) > 0
