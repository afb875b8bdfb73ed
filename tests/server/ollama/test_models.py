"""What clients ask of models: tags, ps, show and version, of a real file and of one that is not loaded."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import httpx
import pytest

from edgeinfer import __version__
from edgeinfer.inference.types import FimTokens
from edgeinfer.server.ollama.model_facts import parameter_size
from tests.support.daemon import edgeinfer
from tests.support.ollama import HI, scripted, send
from tests.support.paths import BUNDLED
from tests.support.server import serving

CONFIG = """
model = "edgeinfer-nano"
ctx = 512

[models.spare]
model = "edgeinfer-nano"
aliases = ["helper"]
"""


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A daemon with the bundled model, and with another name for it that is not loaded."""
    folder = tmp_path_factory.mktemp("daemon")
    (folder / "edgeinfer").mkdir()
    (folder / "edgeinfer/config.toml").write_text(CONFIG)
    with edgeinfer(folder, "--port", "0", "--store", str(folder / "store")) as process:
        process.wait_for("READY=1\nSTATUS=serving edgeinfer-nano")
        yield process.url()


def get(url: str, path: str) -> Any:
    response = httpx.get(url + path)
    assert (200, 200) == (response.status_code, httpx.head(url + path).status_code)
    return response.json()


def test_every_model_has_a_tag_and_the_facts_of_its_file(url: str) -> None:
    """Whether it is loaded or not. Clients put "latest" behind a name without a tag, and compare."""
    models = {model["name"]: model for model in get(url, "/api/tags")["models"]}
    assert {"edgeinfer-nano:latest", "spare:latest"} == set(models)
    for model in models.values():
        assert model["name"] == model["model"]
        assert BUNDLED.stat().st_size == model["size"]
        assert re.fullmatch("[0-9a-f]{64}", model["digest"])
        assert datetime.fromisoformat(model["modified_at"]).tzinfo
        details = model["details"]
        assert ("gguf", "Q8_0", [details["family"]]) == (
            details["format"],
            details["quantization_level"],
            details["families"],
        )
        assert details["context_length"] > 0 < details["embedding_length"]
        assert {"completion", "tools"} <= set(model["capabilities"])


def test_ps_lists_only_what_is_loaded(url: str) -> None:
    """With the context that there is, whatever a request has asked for."""
    options = {"num_ctx": 8192}
    body = {"model": "edgeinfer-nano:latest", "messages": HI, "options": options, "stream": False}
    assert 200 == httpx.post(f"{url}/api/chat", content=json.dumps(body), timeout=60).status_code
    (model,) = get(url, "/api/ps")["models"]
    assert ("edgeinfer-nano:latest", 512) == (model["name"], model["context_length"])
    assert datetime.fromisoformat(model["expires_at"]).year > 2100
    assert model["size"] > 1_000_000


@pytest.mark.parametrize(
    "name", ["edgeinfer-nano", "edgeinfer-nano:latest", "spare", "spare:latest", "helper"]
)
@pytest.mark.parametrize("field", ["model", "name"])
def test_show_has_what_clients_look_for(url: str, name: str, field: str) -> None:
    """Of a loaded model and of another."""
    shown = httpx.post(f"{url}/api/show", content=json.dumps({field: name})).json()
    info = shown["model_info"]
    family = info["general.architecture"]
    assert info["general.basename"]
    assert info["general.parameter_count"] > 100_000
    assert info[f"{family}.context_length"] == shown["details"]["context_length"] > 0
    assert info[f"{family}.embedding_length"] > 0
    assert "tokenizer.chat_template" not in info
    assert "{%" in shown["template"]
    assert "num_ctx 512" in re.sub(" +", " ", shown["parameters"])
    assert shown["modelfile"].startswith("FROM ")


def test_a_copilot_is_told_the_name_that_it_asked_for(url: str) -> None:
    """It shows the base name to its user."""
    headers = {"user-agent": "GitHubCopilotChat/0.31.0"}
    body = {"model": "edgeinfer-nano:latest"}
    shown = httpx.post(f"{url}/api/show", json=body, headers=headers).json()
    assert "edgeinfer-nano:latest" == shown["model_info"]["general.basename"]


def test_the_parameters_of_a_loaded_model_say_how_answers_end(url: str) -> None:
    """Lines that Continue reads: a name, and a value that may be a JSON string."""
    shown = httpx.post(f"{url}/api/show", json={"model": "edgeinfer-nano"}).json()
    parameters = dict(line.split(maxsplit=1) for line in shown["parameters"].splitlines())
    assert isinstance(json.loads(parameters["stop"]), str)


def test_a_model_that_fills_gaps_says_so_where_editors_look() -> None:
    """In a comment of its template, and in its capabilities."""
    with serving(scripted("Hi", fim=FimTokens(1, 2, 3))) as served:
        shown = send(served, "/api/show").json()
    assert ".Suffix" in shown["template"]
    assert "insert" in shown["capabilities"]
    with serving(scripted("Hi")) as served:
        shown = send(served, "/api/show").json()
    assert ".Suffix" not in shown["template"]
    assert "insert" not in shown["capabilities"]


def test_a_model_for_embeddings_says_so() -> None:
    """And cannot chat."""
    with serving(scripted("Hi", generates=False)) as served:
        assert ["embedding"] == send(served, "/api/show").json()["capabilities"]
        assert 400 == send(served, "/api/chat", messages=HI).status_code
    with serving(scripted("Hi", generates=False, reranks=True)) as served:
        assert ["rerank"] == send(served, "/api/show").json()["capabilities"]


def test_the_version_is_that_of_the_api(url: str) -> None:
    """High enough for every client; and ours."""
    version = get(url, "/api/version")
    assert tuple(map(int, version["version"].split("."))) >= (0, 6, 4)
    assert __version__ == version["edgeinfer"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/create"),
        ("POST", "/api/copy"),
        ("POST", "/api/push"),
        ("POST", "/api/blobs/sha256:ab"),
        ("POST", "/api/me"),
        ("POST", "/api/web_search"),
    ],
)
def test_what_there_is_not_says_so(url: str, method: str, path: str) -> None:
    response = httpx.request(method, url + path, json={"model": "x"})
    assert (501, ["error"]) == (response.status_code, list(response.json()))


def test_embeddings_come_as_one_or_several(url: str) -> None:
    """Of length 1; what is too long for the context is cut, unless that is forbidden."""
    long = "much too long " * 2000
    body = {"model": "edgeinfer-nano", "input": ["one", long]}
    embedded = httpx.post(f"{url}/api/embed", json=body, timeout=60).json()
    assert 2 == len(embedded["embeddings"])
    assert 500 < embedded["prompt_eval_count"] <= 1024
    refused = httpx.post(f"{url}/api/embed", json={**body, "truncate": False}, timeout=60)
    assert (400, ["error"]) == (refused.status_code, list(refused.json()))
    old = httpx.post(f"{url}/api/embeddings", json={"model": "edgeinfer-nano", "prompt": "one"}, timeout=60)
    assert embedded["embeddings"][0] == pytest.approx(old.json()["embedding"], abs=1e-4)
    for path in ("/api/embed", "/api/embeddings"):
        assert [] in httpx.post(url + path, json={"model": "edgeinfer-nano"}).json().values()


@pytest.mark.parametrize(
    ("count", "text"), [(751_632_384, "751.63M"), (8_000_000_000, "8B"), (1_540_000_000, "1.5B"), (7, "7")]
)
def test_numbers_of_parameters_are_short(count: int, text: str) -> None:
    assert text == parameter_size(count)
