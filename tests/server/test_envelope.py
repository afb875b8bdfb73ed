"""Errors on the wire."""

from __future__ import annotations

import json
from typing import Any

import pytest
from starlette.responses import Response

from edgeinfer.errors import EdgeinferError, InvalidRequest, NotReady, QueueFull, Unauthorized, all_errors
from edgeinfer.server.http.errors import error_response, public_error
from edgeinfer.server.http.family import SCOPE_KEY
from edgeinfer.server.openai import family as openai


def respond(error: EdgeinferError) -> Response:
    """To a request for a route of OpenAI's."""
    return error_response({SCOPE_KEY: openai.family()}, error)


def content(response: Response) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(bytes(response.body))["error"]
    return found


@pytest.mark.parametrize("cls", all_errors().values())
def test_every_error_has_its_status_and_the_envelope(cls: type[EdgeinferError]) -> None:
    """No class is left without a place in HTTP."""
    found = respond(cls("what", param="field"))
    assert cls.status == found.status_code
    assert {"message": "what", "type": cls.type, "code": cls.code, "param": "field"} == content(found)


def test_a_hint_is_there_when_there_is_one() -> None:
    """Clients that know OpenAI's four fields are not bothered with a null."""
    assert "hint" not in content(respond(EdgeinferError("x")))
    assert content(respond(EdgeinferError("x", hint="try y")))["hint"] == "try y"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (QueueFull("full", retry_after=9), "9"),
        (QueueFull("full"), "1"),
        (NotReady("loading"), "2"),
        (InvalidRequest("bad"), None),
    ],
)
def test_retry_after_stands_where_waiting_helps(error: EdgeinferError, expected: str | None) -> None:
    """On 429 and 503, the error's own time if it knows one."""
    assert respond(error).headers.get("retry-after") == expected


def test_a_401_names_its_scheme() -> None:
    """As RFC 9110 wants it."""
    assert respond(Unauthorized("who?")).headers["www-authenticate"] == "Bearer"


def test_a_bug_tells_the_client_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """The log has it; the answer has not."""
    found = public_error(ValueError("secret path"))
    assert "secret" not in found.message
    assert "secret path" in caplog.text
