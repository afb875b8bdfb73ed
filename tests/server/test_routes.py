"""Models, tokens, health, status, metrics, the documentation, and routes that are not there."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from edgeinfer.errors import ModelLoadFailed
from edgeinfer.inference.client import EngineExit
from edgeinfer.inference.output import EngineStats
from edgeinfer.metrics import DRAFT_COUNTERS, ENGINE_COUNTERS, ENGINE_GAUGES
from tests.support.server import Scripted, Served, error, eventually, serving


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with serving(Scripted()) as found:
        yield found


@pytest.fixture
def supervisor() -> Scripted:
    return Scripted()


@pytest.fixture
def fresh(supervisor: Scripted) -> Iterator[Served]:
    """For what counts, or changes the supervisor."""
    with serving(supervisor) as found:
        yield found


def metrics(served: Served) -> dict[str, float]:
    text = served.client.get("/metrics").text
    families = text_string_to_metric_families(text)
    samples = [sample for family in families for sample in family.samples]
    return {"|".join([s.name, *s.labels.values()]): s.value for s in samples}


def test_models_are_listed_and_found_by_name(served: Served) -> None:
    """The list has one; `default` is another name of it."""
    listed = served.client.get("/v1/models").json()
    assert (listed["object"], [m["id"] for m in listed["data"]]) == ("list", ["scripted"])
    assert listed["data"][0]["meta"]["n_ctx"] == 4096
    assert listed["data"][0]["meta"]["sampling"] == {"temperature": 0.6, "top_k": 20}
    assert served.client.get("/v1/models/scripted").json() == listed["data"][0]
    assert served.client.get("/v1/models/default").json()["id"] == "scripted"
    assert served.client.get("/v1/models/").json() == listed


def test_what_a_chat_template_cannot_do_is_shown(fresh: Served) -> None:
    """Once it has been tried."""
    assert "template_limits" in fresh.client.get("/v1/models").json()["data"][0]["meta"]
    fresh.chat()
    (card,) = fresh.client.get("/v1/models").json()["data"]
    assert card["meta"]["template_limits"] == ["no tools", "no tool calls", "no tool results"]


@pytest.mark.parametrize("name", ["gpt-4o", "a/b", "..%2f..%2fetc", "%00"])
def test_another_model_is_404(served: Served, name: str) -> None:
    """Whatever stands in its name."""
    found = served.client.get(f"/v1/models/{name}")
    assert (found.status_code, error(found)["code"]) == (404, "model_not_found")


def test_tokenize_and_back(served: Served) -> None:
    """As llama-server has it."""
    client = served.client
    assert client.post("/tokenize", json={"content": "Hé"}).json() == {"tokens": [72, 195, 169]}
    assert client.post("/tokenize", json={"content": "H", "add_special": True}).json() == {
        "tokens": [256, 72]
    }
    found = client.post("/tokenize", json={"content": "Hé", "with_pieces": True}).json()
    assert [t["piece"] for t in found["tokens"]] == ["H", [195], [169]]
    assert client.post("/detokenize", json={"tokens": [72, 105]}).json() == {"content": "Hi"}


@pytest.mark.parametrize(("token", "param"), [(258, "tokens[1]"), (-1, "tokens[1]"), ("a", "tokens[1]")])
def test_detokenize_names_the_bad_token(served: Served, token: object, param: str) -> None:
    """By its place."""
    found = served.client.post("/detokenize", json={"tokens": [1, token]})
    assert (found.status_code, error(found)["param"]) == (400, param)


def test_apply_template_shows_the_prompt(served: Served) -> None:
    """Exactly what a chat request would send to the model."""
    asked: dict[str, Any] = {"messages": [{"role": "user", "content": "Hi"}]}
    assert served.client.post("/apply-template", json=asked).json() == {"prompt": "[user]Hi\n[assistant]"}
    asked["add_generation_prompt"] = False
    assert served.client.post("/apply-template", json=asked).json() == {"prompt": "[user]Hi\n"}


def test_health_and_ready_differ(fresh: Served, supervisor: Scripted) -> None:
    """Alive is not ready."""
    assert fresh.client.get("/ready").json() == {"status": "ready", "model": "scripted"}
    supervisor.state, supervisor.last_exit = "restarting", "SIGSEGV"
    found = fresh.client.get("/ready")
    assert (found.status_code, found.json()) == (503, {"status": "restarting", "reason": "SIGSEGV"})
    assert found.headers["retry-after"]
    health = fresh.client.get("/health")
    assert (health.status_code, health.json()) == (200, {"status": "ok"})
    assert fresh.client.head("/health").status_code == 200


def test_ready_tells_why_a_model_failed(fresh: Served, supervisor: Scripted) -> None:
    """In the loader's words."""
    supervisor.state, supervisor.last_error = "failed", ModelLoadFailed("no such file")
    assert fresh.client.get("/ready").json() == {"status": "failed", "reason": "no such file"}


def test_status_has_everything_at_once(served: Served) -> None:
    """What `edgeinfer status` prints."""
    found = served.client.get("/status").json()
    assert found["state"] == "ready"
    assert (found["model"]["name"], found["model"]["chat_templates"]) == ("scripted", ["default"])
    assert found["stats"]["cells_used"] == 7
    assert found["plan"] == {"config": found["plan"]["config"], "reasons": ["ctx 4096: asked for"]}
    assert found["settings"]["ctx"] == {"value": 4096, "source": "flag"}
    assert found["settings"]["host"]["source"] == "default"
    assert found["uptime"] >= 0


def test_status_has_each_end_of_an_engine(fresh: Served, supervisor: Scripted) -> None:
    supervisor.exits.append(EngineExit(1.5, "SIGSEGV", was_ready=True))
    (row,) = fresh.client.get("/status").json()["models"]
    assert row["exits"] == [{"at": 1.5, "cause": "SIGSEGV", "was_ready": True}]


def test_a_model_that_is_being_loaded_tells_how_much_of_it_has_been_read(
    fresh: Served, supervisor: Scripted
) -> None:
    def status() -> dict[str, Any]:
        found: dict[str, Any] = fresh.client.get("/v1/models").json()["data"][0]["status"]
        return found

    assert "loaded" not in status()
    supervisor.state, supervisor.load_progress = "starting", 0.25
    assert (status()["state"], status()["loaded"]) == ("loading", 0.25)


def test_metrics_count_requests_by_route_and_status(fresh: Served) -> None:
    """By the route's pattern, so that no client can make labels."""
    fresh.chat()
    fresh.chat(n=0)
    fresh.client.get("/v1/models/a/b/c")
    fresh.client.get("/nowhere/at/all")
    found = metrics(fresh)
    assert found["edgeinfer_requests_total|/v1/chat/completions|200"] == 1
    assert found["edgeinfer_requests_total|/v1/chat/completions|400"] == 1
    assert found["edgeinfer_requests_total|/v1/models/{id:path}|404"] == 1
    assert found["edgeinfer_requests_total|none|404"] == 1
    assert found["edgeinfer_time_to_first_token_seconds_count|scripted"] == 1
    assert found["edgeinfer_token_gap_seconds_count|scripted"] == 1


def test_metrics_show_the_engine(served: Served) -> None:
    """As it is at the scrape, in base units."""
    found = metrics(served)
    assert found["edgeinfer_kv_cells_used|scripted"] == 7
    assert found["edgeinfer_step_seconds|scripted"] == 0.0125
    assert found["edgeinfer_prompt_tokens_total|scripted"] == 5
    assert found["edgeinfer_ready|scripted"] == 1
    assert found["edgeinfer_rss_bytes||daemon"] > 1e6


def test_every_figure_of_the_engine_is_a_metric() -> None:
    """A new one is not forgotten here."""
    known = {f"{name}_total" for name in ENGINE_COUNTERS} | set(ENGINE_GAUGES)
    known |= {
        f"{name}_{of}_total" for name in DRAFT_COUNTERS for of in ("tokens", "by_prediction", "by_model")
    }
    assert {f.name for f in msgspec.structs.fields(EngineStats)} <= known


def test_every_metric_has_our_prefix(served: Served) -> None:
    """Nothing of the process-wide registry."""
    assert all(name.startswith("edgeinfer_") for name in metrics(served))


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "not_found"),
        ("GET", "/v1/", 404, "not_found"),
        ("GET", "/health//", 404, "not_found"),
        ("GET", "/v1/completions", 405, "method_not_allowed"),
        ("DELETE", "/v1/models", 405, "method_not_allowed"),
    ],
)
def test_what_is_not_there_is_told_in_the_envelope(
    served: Served, method: str, path: str, status: int, code: str
) -> None:
    """No redirect, no HTML."""
    found = served.client.request(method, path)
    assert (found.status_code, error(found)["code"]) == (status, code)


def test_the_request_id_is_the_caller_s_if_it_is_sane(served: Served) -> None:
    """Else one of ours; never what could forge a log line."""
    assert served.client.get("/health", headers={"x-request-id": "abc-1"}).headers["x-request-id"] == "abc-1"
    for bad in ("a b", "x" * 200, "a;b", ""):
        given = served.client.get("/health", headers={"x-request-id": bad}).headers["x-request-id"]
        assert re.fullmatch("[0-9a-f]{32}", given)
    assert served.client.get("/nowhere").headers["x-request-id"]


def test_a_request_is_one_line_of_the_log_without_its_prompt(
    fresh: Served, caplog: pytest.LogCaptureFixture
) -> None:
    """Method, path, status, time, id and address; no query, no body, no header."""
    with caplog.at_level(logging.DEBUG):
        headers = {"x-request-id": "id-7", "authorization": "Bearer secret-key"}
        asked = {"prompt": "secret prompt"}
        fresh.client.post("/v1/completions?secret=query", json=asked, headers=headers)
        assert eventually(lambda: [r for r in caplog.records if r.name == "edgeinfer.access"])
    (line,) = [r.getMessage() for r in caplog.records if r.name == "edgeinfer.access"]
    assert re.fullmatch(r"POST /v1/completions 200 [0-9.]+ ms id-7 127\.0\.0\.1", line)
    ours = [r.getMessage() for r in caplog.records if not r.name.startswith(("http", "asyncio"))]
    assert "secret" not in "".join(ours)


def test_the_address_alone_says_what_is_there(served: Served) -> None:
    """A page for people, who open it in a browser first; for programs the line that Ollama's clients look for."""
    page = served.client.get("/", headers={"accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert all(text in page.text for text in ("<title>edgeinfer</title>", "assets/app.js", 'href="docs"'))
    for accept in ("*/*", "text/plain", ""):
        answer = served.client.get("/", headers={"accept": accept})
        assert (answer.text, answer.headers["content-type"]) == (
            "Ollama is running",
            "text/plain; charset=utf-8",
        )
    assert "edgeinfer" == served.client.get("/", headers={"accept": "application/json"}).json()["name"]
    head = served.client.head("/")
    assert (head.status_code, head.text) == (200, "")
    assert served.client.get("/anything").status_code == 404


def test_the_documentation_needs_no_network(served: Served) -> None:
    """No script, no style sheet, no image from elsewhere."""
    page = served.client.get("/docs")
    assert page.status_code == 200
    assert not re.search(r"(src|href)=.?(https?:)?//", page.text)
    assert served.client.get("/docs/").headers["location"] == "../docs"


def test_openapi_knows_every_route_and_every_body(served: Served) -> None:
    """Each reference in it leads somewhere."""
    text = served.client.get("/openapi.json").text
    found = msgspec.json.decode(text)
    assert {"/v1/chat/completions", "/v1/embeddings", "/tokenize", "/ready"} <= set(found["paths"])
    references = set(re.findall(r'"#/components/schemas/(\w+)"', text))
    assert references <= set(found["components"]["schemas"])
    assert "ChatRequest" in references
