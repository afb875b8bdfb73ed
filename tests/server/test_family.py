"""An API family brings its routes, its error shape and its part of /openapi.json; nothing else knows them."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Iterator, Sequence
from pathlib import Path

import msgspec
import pytest
from starlette.requests import Request
from starlette.responses import Response

from edgeinfer.errors import EdgeinferError, QueueFull
from edgeinfer.server import build
from edgeinfer.server.http.body import read
from edgeinfer.server.http.family import Families, Family, ModelsForm, Route
from edgeinfer.server.http.request_model import RequestModel
from edgeinfer.server.http.sse import EventStream
from edgeinfer.server.openai import family as openai
from edgeinfer.serving.model import ServedModel
from tests.support.server import Scripted, Served, application, serving


class Fault(msgspec.Struct):
    fault: str


class GreetRequest(RequestModel):
    name: str


def render(error: EdgeinferError) -> bytes:
    return msgspec.json.encode(Fault(error.message))


async def greet(request: Request) -> Response:
    body = await read(request, GreetRequest)
    return Response(f"hello {body.name}")


async def fail(_request: Request) -> Response:
    raise QueueFull("too many greetings")


async def stream(_request: Request) -> Response:
    async def events() -> AsyncGenerator[bytes, None]:
        yield b"one\n"
        raise QueueFull("too many greetings")

    async def start() -> AsyncGenerator[bytes, None]:
        return events()

    return EventStream(start)


def names(request: Request, models: Sequence[ServedModel]) -> Response:
    return Response(f"{request.query_params['limit']}: {[model.name for model in models]}")


def name(_request: Request, model: ServedModel) -> Response:
    return Response(model.name)


def other() -> Family:
    return Family(
        name="other",
        routes=(
            Route("/other/greet", greet, body=GreetRequest, answers=(Fault,), example={"name": "you"}),
            Route("/other/fail", fail, ("GET",)),
            Route("/other/stream", stream, ("GET",), streams=True),
        ),
        render_error=render,
        error_type=Fault,
        stream_error=lambda error: b"event: fault\ndata: " + render(error) + b"\n\n",
        prefixes=("/other/",),
        models_form=ModelsForm(b"other-version", names, name),
    )


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Served]:
    """Where keys are asked for and bodies are small."""
    monkeypatch.setattr(build, "FAMILIES", (*build.FAMILIES, other))
    keys = tmp_path / "keys"
    keys.write_text("alpha\n")
    keys.chmod(0o600)
    engine = Scripted()
    with serving(engine, application(engine, api_key_file=str(keys), max_body=2000)) as daemon:
        daemon.client.headers["x-api-key"] = "alpha"
        yield daemon


def test_a_family_is_one_more_line(served: Served) -> None:
    """Its routes answer, and /openapi.json has them."""
    assert "hello you" == served.client.post("/other/greet", json={"name": "you"}).text
    paths = served.client.get("/openapi.json").json()["paths"]
    assert "GreetRequest" in json.dumps(paths["/other/greet"]["post"]["requestBody"])
    assert "AnswerFault" in json.dumps(paths["/other/greet"]["post"]["responses"]["429"])
    assert "AnswerErrorEnvelope" in json.dumps(paths["/v1/models"]["get"]["responses"]["429"])


@pytest.mark.parametrize(
    ("method", "path", "headers", "body", "status"),
    [
        ("GET", "/other/fail", {}, "", 429),
        ("GET", "/other/greet", {}, "", 405),
        ("GET", "/other/nowhere", {}, "", 404),
        ("POST", "/other/greet", {"content-type": "text/plain"}, "x", 400),
        ("POST", "/other/greet", {"content-type": "application/json"}, "{", 400),
        ("POST", "/other/greet", {"content-type": "application/json"}, "x" * 3000, 413),
        ("GET", "/other/fail", {"x-api-key": "wrong"}, "", 401),
        ("GET", "/other/fail", {"host": "evil.example"}, "", 403),
        ("GET", "/other/fail", {"origin": "http://evil.example"}, "", 403),
    ],
)
def test_every_error_has_the_shape_of_the_family_whose_path_was_asked_for(
    served: Served, method: str, path: str, headers: dict[str, str], body: str, status: int
) -> None:
    """Also one that comes before there is a route: by host, origin, key, size or path."""
    response = served.client.request(method, path, headers=headers, content=body)
    assert (status, ["fault"]) == (response.status_code, list(response.json()))
    plain = served.client.request(method, path.replace("/other/", "/v1/"), headers=headers, content=body)
    assert ["error"] == list(plain.json())


def test_an_error_within_a_stream_has_it_too(served: Served) -> None:
    """As an event of that family."""
    assert (
        'one\nevent: fault\ndata: {"fault":"too many greetings"}\n\n'
        == served.client.get("/other/stream").text
    )


def test_a_family_lists_the_models_in_its_own_form_where_a_header_says_that_it_is_meant(
    served: Served,
) -> None:
    """Errors included. Without that header the list is OpenAI's, and on other paths the header means nothing."""
    get, marked = served.client.get, {"other-version": "1"}
    assert "5: ['scripted']" == get("/v1/models?limit=5", headers=marked).text
    assert "scripted" == get("/v1/models/default", headers=marked).text
    assert ["fault"] == list(get("/v1/models/nothing", headers=marked).json())
    assert ["fault"] == list(get("/v1/models", headers={**marked, "x-api-key": "wrong"}).json())
    assert "list" == get("/v1/models").json()["object"]
    assert ["error"] == list(get("/v1/nothing", headers=marked).json())


def test_the_family_with_the_longest_prefix_owns_a_path() -> None:
    """Wherever it stands in the list. A prefix claims the path that it is without its slash, too."""
    wide, narrow = other(), msgspec.structs.replace(other(), prefixes=("/other/own/",))
    families = Families([openai.family(), wide, narrow])
    owners = [families.of(path) for path in ("/other/own/x", "/other/own", "/other/owned", "/v1/x", "/x")]
    assert [narrow, narrow, wide, families.all[0], families.all[0]] == owners


def test_a_family_s_clients_find_the_id_of_a_request_in_their_own_header(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own = msgspec.structs.replace(other(), request_id_header="request-id")
    monkeypatch.setattr(build, "FAMILIES", (openai.family, lambda: own))
    with serving(Scripted()) as served:
        sent = {"x-request-id": "abc"}
        refused = served.client.get("/other/nothing", headers=sent)
        assert "abc" == refused.headers["request-id"] == refused.headers["x-request-id"]
        assert "request-id" not in served.client.get("/v1/models", headers=sent).headers
