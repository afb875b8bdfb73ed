"""HEAD wherever there is GET, OPTIONS, and a slash at the end of a path."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from edgeinfer.server.build import FAMILIES
from tests.support.server import Scripted, Served, error, serving

ROUTES = [route for family in FAMILIES for route in family().routes]
GETS = sorted({route.path for route in ROUTES if "GET" in route.methods})
CHANGING = {"content-length", "date", "openai-processing-ms", "x-request-id", "retry-after"}


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with serving(Scripted("Hello")) as found:
        yield found


@pytest.mark.parametrize("path", [*GETS, "/openapi.json"])
def test_head_has_the_head_of_get(served: Served, path: str) -> None:
    """Of every family; without a body. A stream that never ends does so too."""
    path = path.replace("{id:path}", "scripted")
    with served.client.stream("GET", path) as get:
        pass
    head = served.client.head(path)
    assert (head.status_code, head.content) == (get.status_code, b"")
    assert set(head.headers) == set(get.headers) - {"transfer-encoding"}
    assert {k: v for k, v in head.headers.items() if k not in CHANGING} == {
        k: v for k, v in get.headers.items() if k not in {*CHANGING, "transfer-encoding"}
    }


@pytest.mark.parametrize("path", ["/v1/models", "/health", "/v1/models/gpt-4o"])
def test_head_says_how_long_the_body_of_get_is(served: Served, path: str) -> None:
    """And the connection can be used again."""
    length = int(served.client.head(path).headers["content-length"])
    assert length == len(served.client.get(path).content)


def test_head_of_what_only_takes_post_is_no_get(served: Served) -> None:
    """It is refused as GET is."""
    found = served.client.head("/v1/chat/completions")
    assert (found.status_code, found.headers["allow"], found.content) == (405, "POST, OPTIONS", b"")


def test_a_route_that_takes_head_itself_gets_it(served: Served) -> None:
    """It has no GET: Ollama's clients ask so whether a blob is there."""
    post, head = (served.client.request(method, "/api/blobs/sha256:ab") for method in ("POST", "HEAD"))
    assert head.status_code == post.status_code != 405
    assert head.content == b""


@pytest.mark.parametrize(
    ("path", "allow"),
    [
        ("/v1/chat/completions", "POST, OPTIONS"),
        ("/v1/chat/completions/", "POST, OPTIONS"),
        ("/v1/models", "GET, HEAD, OPTIONS"),
        ("/v1/models/x", "GET, HEAD, OPTIONS"),
        ("/models", "DELETE, GET, HEAD, POST, OPTIONS"),
        ("/openapi.json", "GET, HEAD, OPTIONS"),
    ],
)
def test_options_lists_the_methods(served: Served, path: str, allow: str) -> None:
    """As the refusal of another method does."""
    found = served.client.options(path)
    assert (found.status_code, found.headers["allow"], found.content) == (204, allow, b"")
    refused = served.client.request("PATCH", path)
    assert (refused.status_code, refused.headers["allow"]) == (405, allow)


def test_options_of_nothing_is_not_found(served: Served) -> None:
    """In the envelope."""
    found = served.client.options("/nowhere")
    assert (found.status_code, error(found)["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "x"}]}),
        ("/v1/completions", {"prompt": "x"}),
        ("/tokenize", {"content": "x"}),
    ],
)
def test_a_slash_at_the_end_changes_nothing(served: Served, path: str, body: dict[str, Any]) -> None:
    """No redirect: clients would lose the body or the key."""
    for url in (path, f"{path}/", f"{path}/?x=1"):
        found = served.client.post(url, json=body, follow_redirects=False)
        assert found.status_code == 200
    metrics = served.client.get("/metrics/").text
    assert f'route="{path}",status="200"' in metrics
    assert f'route="{path}/"' not in metrics


def test_a_slash_after_a_name_is_not_part_of_it(served: Served) -> None:
    """Neither is it a model of its own."""
    assert served.client.get("/v1/models/scripted/").json()["id"] == "scripted"
    assert served.client.get("/v1/models/").json() == served.client.get("/v1/models").json()


def test_a_slash_does_not_lead_around_a_limit() -> None:
    """Both forms count as one request each."""
    with serving(Scripted(), requests_per_minute=2) as served:
        paths = ["/v1/models", "/v1/models/", "/v1/models/", "/v1/models"]
        assert [served.client.get(path).status_code for path in paths] == [200, 200, 429, 429]
        assert served.client.get("/health/").status_code == 200
