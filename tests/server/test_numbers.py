"""No number in any field of any route is an error of the server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from msgspec.structs import replace

from edgeinfer.inference.types import FimTokens
from edgeinfer.server.build import FAMILIES
from edgeinfer.server.http.family import Route
from edgeinfer.server.http.request_model import RequestModel
from tests.support.server import INFO, Scripted, Served, serving

ROUTES = [route for family in FAMILIES for route in family().routes if route.body]
MARK = "\N{SNOWMAN}"
NUMBERS = ("1" + "0" * 400, str(2**64), "1e308", "-1e308")


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    info = replace(INFO, fim=FimTokens(1, 2, 3, None, None))
    with serving(Scripted("x", info=info)) as found:
        yield found


def fields(model: type[RequestModel]) -> Iterator[str]:
    """Every field that a body may have, by whatever name."""
    yield from model.model_fields
    yield from model.synonyms
    yield from model.unsupported


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.path)
@pytest.mark.parametrize("shape", [MARK, f'[{{"1":{MARK}}}]'], ids=["", "inside"])
def test_no_number_is_an_error_of_the_server(served: Served, route: Route, shape: str) -> None:
    """Neither where one belongs, nor in a list or an object in its place."""
    assert route.body
    for field in fields(route.body):
        for number in NUMBERS:
            body = json.dumps({**(route.example or {}), field: MARK}, ensure_ascii=False)
            text = body.replace(f'"{MARK}"', shape.replace(MARK, number))
            response = served.client.post(
                route.path, content=text.encode(), headers={"content-type": "application/json"}
            )
            assert response.status_code < 500, (field, text[:200], response.text[:200])


VARIABLES: list[Any] = [{"a": MARK}, {"a": [MARK]}, {"enable_thinking": MARK}]


@pytest.mark.parametrize("variables", VARIABLES, ids=str)
def test_no_number_breaks_the_template_s_process(served: Served, variables: Any) -> None:
    """It is sent those that msgpack has no form for, too, or they are refused before."""
    messages = [{"role": "user", "content": "x"}]
    for number in NUMBERS:
        body = json.dumps({"messages": messages, "chat_template_kwargs": variables}, ensure_ascii=False)
        text = body.replace(f'"{MARK}"', number)
        response = served.client.post(
            "/v1/chat/completions", content=text.encode(), headers={"content-type": "application/json"}
        )
        assert response.status_code < 500, (text, response.text)
    assert served.chat().status_code == 200
