"""A client that calls a route we lack learns which one to use."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.server import Scripted, Served, error, serving


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with serving(Scripted()) as found:
        yield found


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("/responses", "use /v1/responses: the base URL of a client ends with /v1"),
        ("/chat/completions", "use /v1/chat/completions: the base URL of a client ends with /v1"),
        ("/embeddings", "use /v1/embeddings: the base URL of a client ends with /v1"),
        (
            "/v1/v1/chat/completions",
            "use /v1/chat/completions: the base URL of a client has one /v1 too many",
        ),
        ("//v1/chat/completions", "use /v1/chat/completions"),
        ("/v1//chat/completions", "use /v1/chat/completions"),
        ("/v1/v1/chat//completions/", "use /v1/chat/completions: the base URL"),
        ("/openai/v1/chat/completions", "use /v1/chat/completions"),
        ("/embedding", "use POST /v1/embeddings"),
        ("/v1/chat/completions//", "use /v1/chat/completions"),
        ("/V1/Chat/Completions", "use /v1/chat/completions"),
        ("/v1/chat/completion", "did you mean /v1/chat/completions?"),
        ("/v1/embedding", "did you mean /v1/embeddings?"),
        ("/tokenise", "did you mean /tokenize?"),
        ("/version", "did you mean /api/version?"),
        ("/v1/chat", "use POST /v1/chat/completions"),
        ("/v1/score", "use POST /v1/rerank"),
        ("/redoc", "use /docs"),
        ("/v1/images/generations", "/openapi.json lists the routes"),
        ("/v1/moderations", "/openapi.json lists the routes"),
        ("/v1/threads", "/openapi.json lists the routes"),
        ("/v1/realtime", "/openapi.json lists the routes"),
        ("/info", "/openapi.json lists the routes"),
        ("/nothing/like/it", "/openapi.json lists the routes"),
        ("/" + "x" * 5000, "/openapi.json lists the routes"),
    ],
    ids=lambda value: value[:40],
)
def test_an_unknown_route_names_the_one_to_use(served: Served, path: str, hint: str) -> None:
    """Of our API, whichever API the path is from."""
    response = served.client.post(served.url + path, json={})
    assert (response.status_code, error(response)["code"]) == (404, "not_found")
    assert hint in error(response)["hint"]
    assert len(response.content) < 1000


def test_a_wrong_method_names_those_of_every_route_of_the_path(served: Served) -> None:
    """One path may be read and deleted."""
    response = served.client.put("/v1/responses/resp_1")
    assert response.status_code == 405
    assert response.headers["allow"] == "DELETE, GET, HEAD, OPTIONS"


def test_a_wrong_method_names_the_right_one(served: Served) -> None:
    """A browser that is pointed at a POST route sends GET."""
    response = served.client.get("/v1/chat/completions")
    assert (response.status_code, error(response)["hint"]) == (405, "use POST")
