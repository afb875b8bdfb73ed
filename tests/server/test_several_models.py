"""A real daemon with three models, of which two fit into its memory at once."""

from __future__ import annotations

import json
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from edgeinfer.server.auth.keys import Key, digest
from tests.support.daemon import Process, edgeinfer
from tests.support.paths import BUNDLED
from tests.support.processes import children
from tests.support.raw_http import connected, post
from tests.support.server import eventually, parse

NAMES = ("nano", "one", "two")
"""The bundled model, and two fake ones that take 5 ms a token; all have worker processes."""

LIMIT = 200
"""Megabytes: a fake model takes 64 of them, the bundled one a little more."""

TIGHT = 120
"""Megabytes for one model at a time; next to a fake one the bundled model would only fit much smaller."""


def write(tmp_path: Path, text: str = "", limit: int = LIMIT) -> None:
    """The configuration file."""
    folder = tmp_path / "edgeinfer"
    folder.mkdir(exist_ok=True)
    (folder / "config.toml").write_text(f"""
model = "nano"
store = {json.dumps(str(tmp_path / "store"))}
ctx = 512
parallel = 4
memory_limit_mb = {limit}
{text}

[models.nano]
model = "edgeinfer-nano"
aliases = ["gpt-4o-mini"]

[models.one]
model = "fake:5"

[models.two]
model = "fake:5"
parallel = 2

[models.broken]
model = "fake:broken"

[models.missing]
model = "/nowhere/model.gguf"
""")


@contextmanager
def daemon(tmp_path: Path, text: str = "", limit: int = LIMIT) -> Iterator[tuple[Process, str]]:
    write(tmp_path, text, limit)
    with edgeinfer(tmp_path, "--port", "0") as process:
        process.wait_for("READY=1\nSTATUS=serving nano")
        yield process, process.url()


def complete(
    url: str, model: str | None, prompt: str = "Hello", tokens: int = 8, **fields: Any
) -> httpx.Response:
    body = {"prompt": prompt, "max_tokens": tokens, "seed": 7, "ignore_eos": True, **fields}
    if model is not None:
        body["model"] = model
    return httpx.post(f"{url}/v1/completions", json=body, timeout=90)


def text(response: httpx.Response) -> str:
    assert response.status_code == 200, response.text
    found: str = response.json()["choices"][0]["text"]
    return found


def rows(url: str) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in httpx.get(f"{url}/status", timeout=30).json()["models"]}


def states(url: str) -> dict[str, str]:
    listed = httpx.get(f"{url}/v1/models", timeout=30).json()["data"]
    return {model["id"]: model["status"]["state"] for model in listed}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Process, str]]:
    with daemon(tmp_path_factory.mktemp("several")) as both:
        yield both


def test_all_that_can_be_asked_for_is_listed(shared: tuple[Process, str]) -> None:
    """With its state, loaded or not; the default one first."""
    _, url = shared
    assert ["nano", "one", "two", "broken", "missing"] == list(states(url))
    assert "ready" == states(url)["nano"]


def test_an_alias_is_another_name(shared: tuple[Process, str]) -> None:
    """Answers are signed with the model's own."""
    _, url = shared
    assert "nano" == complete(url, "gpt-4o-mini").json()["model"]
    assert "one" == complete(url, "one").json()["model"]
    assert text(complete(url, None)) == text(complete(url, "default")) == text(complete(url, "nano"))


def test_the_third_model_evicts_the_idle_one(shared: tuple[Process, str]) -> None:
    """The one that was used longest ago; the default one stays."""
    process, url = shared
    text(complete(url, "one"))
    text(complete(url, "nano"))
    text(complete(url, "two"))
    assert {"nano": "ready", "one": "unloaded", "two": "ready"} == {name: states(url)[name] for name in NAMES}
    assert 2 == len(children("worker", process.process.pid))


@pytest.mark.parametrize(("name", "status"), [("broken", 500), ("missing", 404), ("unknown", 404)])
def test_a_model_that_cannot_be_loaded_is_an_error_for_its_own_requests_alone(
    shared: tuple[Process, str], name: str, status: int
) -> None:
    """The others are answered as before."""
    _, url = shared
    expected = {name: text(complete(url, name)) for name in NAMES}
    assert status == complete(url, name).status_code
    assert expected == {name: text(complete(url, name)) for name in NAMES}


def test_requests_to_all_three_at_once_are_all_answered(shared: tuple[Process, str]) -> None:
    """From 24 clients: each gets what its model says alone."""
    process, url = shared
    expected = {name: text(complete(url, name, tokens=30)) for name in NAMES}
    with ThreadPoolExecutor(24) as pool:
        futures = [(name, pool.submit(complete, url, name, tokens=30)) for name in NAMES * 8]
        answers = [(name, text(future.result())) for name, future in futures]
    assert Counter({(name, expected[name]): 8 for name in NAMES}) == Counter(answers)
    assert 2 >= len(children("worker", process.process.pid))


def test_a_model_s_crash_leaves_the_others_undisturbed(shared: tuple[Process, str]) -> None:
    """Their streams go on without a pause, and its own are resumed."""
    _, url = shared
    text(complete(url, "one"))
    text(complete(url, "two"))
    expected = {name: text(complete(url, name, tokens=150)) for name in ("one", "two")}
    gaps: dict[str, float] = {}

    def stream(name: str) -> str:
        body = {
            "model": name,
            "prompt": "Hello",
            "max_tokens": 150,
            "seed": 7,
            "ignore_eos": True,
            "stream": True,
        }
        pieces, last, gaps[name] = [], time.monotonic(), 0.0
        with httpx.stream("POST", f"{url}/v1/completions", json=body, timeout=60) as response:
            for piece in response.iter_text():
                now = time.monotonic()
                gaps[name], last = max(gaps[name], now - last), now
                pieces.append(piece)
                started[name].set()
        return "".join(choice["text"] for event in parse("".join(pieces)) for choice in event["choices"])

    started = {name: threading.Event() for name in ("one", "two")}
    before = rows(url)
    with ThreadPoolExecutor(2) as pool:
        streams = {name: pool.submit(stream, name) for name in ("one", "two")}
        assert all(event.wait(20) for event in started.values())
        os.kill(rows(url)["one"]["pid"], signal.SIGKILL)
        assert expected == {name: future.result() for name, future in streams.items()}
    after = rows(url)
    assert 1 == after["one"]["restarts"] - before["one"]["restarts"]
    assert 0 == after["two"]["restarts"] - before["two"]["restarts"]


def test_loading_and_unloading_by_hand(shared: tuple[Process, str]) -> None:
    """As llama-server's router does it."""
    _, url = shared
    assert httpx.post(f"{url}/models/load", json={"model": "two"}, timeout=60).json() == {"success": True}
    assert "ready" == states(url)["two"]
    assert httpx.post(f"{url}/models/unload", json={"model": "two"}, timeout=60).json() == {"success": True}
    assert "unloaded" == states(url)["two"]
    assert 404 == httpx.post(f"{url}/models/load", json={"model": "no"}, timeout=60).status_code
    text(complete(url, "two"))


def test_a_key_must_be_an_admin_s_to_load_or_unload(tmp_path: Path) -> None:
    """Any other may use the models."""
    keys = tmp_path / "keys"
    lines = [Key("user", digest(b"u")).line(), Key("boss", digest(b"b"), admin=True).line()]
    keys.write_text("\n".join(lines) + "\n")
    keys.chmod(0o600)
    with daemon(tmp_path, f"api_key_file = {json.dumps(str(keys))}") as (_, url):

        def load(key: str) -> int:
            return httpx.post(
                f"{url}/models/load", json={"model": "one"}, headers={"x-api-key": key}, timeout=60
            ).status_code

        assert (403, 200, 401) == (load("u"), load("b"), load("x"))


@pytest.mark.parametrize("to_the_group", [False, True])
def test_two_models_prefix_caches_survive_a_restart_side_by_side(tmp_path: Path, to_the_group: bool) -> None:
    """Each in a directory of its own: neither wipes the other's, even if workers get the signal too."""
    prompt = "The quick brown fox jumps over the lazy dog. " * 30
    cache = f"prefix_cache_mb = 64\nmemory_limit_mb = 1000\n[models.twin]\nmodel = {json.dumps(str(_copy(tmp_path)))}\n"
    write_twins(tmp_path, cache)
    for attempt in range(2):
        with edgeinfer(tmp_path, "--port", "0") as process:
            process.wait_for("READY=1\nSTATUS=serving nano")
            url = process.url()
            for name in ("nano", "twin"):
                usage = complete(url, name, prompt, tokens=1).json()["usage"]
                cached = usage["prompt_tokens_details"]["cached_tokens"]
                assert (cached > 50) == (attempt == 1), (attempt, name, usage)
            assert (process.end_group() if to_the_group else process.end()) == 0


def _copy(tmp_path: Path) -> Path:
    path = tmp_path / "twin.gguf"
    path.write_bytes(BUNDLED.read_bytes())
    return path


def write_twins(tmp_path: Path, text: str) -> None:
    folder = tmp_path / "edgeinfer"
    folder.mkdir(exist_ok=True)
    head = f'model = "nano"\nstore = {json.dumps(str(tmp_path / "store"))}\nctx = 1024\nparallel = 2\n'
    (folder / "config.toml").write_text(head + text + '[models.nano]\nmodel = "edgeinfer-nano"\n')


def test_a_reload_takes_over_the_tables(tmp_path: Path) -> None:
    """A model whose settings have changed is loaded again in the new way; the others stay."""
    with daemon(tmp_path) as (process, url):
        text(complete(url, "two"))
        before = rows(url)["nano"]
        path = tmp_path / "edgeinfer" / "config.toml"
        path.write_text(
            path.read_text().replace("parallel = 2", "parallel = 3").replace("models.one", "models.uno")
        )
        process.process.send_signal(signal.SIGHUP)
        assert eventually(
            lambda: (httpx.get(f"{url}/status").json()["reload"] or {}).get("state") == "done", 30
        )
        assert eventually(lambda: states(url)["two"] == "unloaded", 30)
        assert ["nano", "uno", "two", "broken", "missing"] == list(states(url))
        assert before["restarts"] == rows(url)["nano"]["restarts"]
        assert 404 == complete(url, "one").status_code
        text(complete(url, "uno"))
        text(complete(url, "two"))


def test_a_reload_counts_on_the_memory_of_idle_models(tmp_path: Path) -> None:
    """The default model is not made smaller for their sake: nothing has changed, or they make room."""

    def reload(process: Process, url: str, number: int) -> str:
        process.process.send_signal(signal.SIGHUP)
        done = {"number": number, "state": "done"}
        assert eventually(lambda: done.items() <= (status(url)["reload"] or {}).items(), 30), status(url)[
            "reload"
        ]
        return str(status(url)["reload"]["message"])

    def status(url: str) -> dict[str, Any]:
        return dict(httpx.get(f"{url}/status", timeout=30).json())

    with daemon(tmp_path, limit=TIGHT) as (process, url):
        before = status(url)["plan"]["config"]
        text(complete(url, "one"))
        path = tmp_path / "edgeinfer" / "config.toml"
        assert "as before" in reload(process, url, 1)
        path.write_text(path.read_text().replace("ctx = 512", "ctx = 448"))
        assert "ctx 448 instead of 512" in reload(process, url, 2)
        text(complete(url, "nano"))
        after = status(url)["plan"]["config"]
        same = ("layout", "parallel", "kv_type", "repack")
        assert [before[name] for name in same] == [after[name] for name in same]
        text(complete(url, "one"))


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_random_requests_to_three_models_leave_nothing_behind(tmp_path: Path) -> None:
    """15 seconds of them, some cut off by their clients: processes and descriptors are as before."""
    with daemon(tmp_path) as (process, url):
        for name in NAMES:
            text(complete(url, name))
        me = psutil.Process(process.process.pid)
        before = (len(me.children(recursive=True)), me.num_fds(), me.memory_info().rss)
        port, end = int(url.rpartition(":")[2]), time.monotonic() + 15

        def client(seed: int) -> int:
            dice, answered = random.Random(seed), 0
            while time.monotonic() < end:
                name = dice.choice(NAMES)
                if dice.random() < 0.2:
                    with connected(port) as sock:
                        sock.sendall(
                            post({"model": name, "prompt": "Hi", "max_tokens": 400, "ignore_eos": True})
                        )
                        time.sleep(dice.uniform(0, 0.2))
                else:
                    text(complete(url, name, tokens=dice.randint(1, 40)))
                    answered += 1
            return answered

        with ThreadPoolExecutor(12) as pool:
            assert all(pool.map(client, range(12)))
        assert eventually(lambda: not any(row["active"] for row in rows(url).values()), 30)
        time.sleep(1)
        after = (len(me.children(recursive=True)), me.num_fds(), me.memory_info().rss)
        assert after[0] <= before[0]
        assert after[1] <= before[1] + 3
        assert after[2] <= before[2] + 25e6
