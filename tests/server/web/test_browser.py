"""The page in real browsers: nothing foreign is asked for, the console stays empty, and everybody can use it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from edgeinfer.hardware import detect
from edgeinfer.hub.mirror import mirror_app
from edgeinfer.plan.benchmarks import BenchmarkResult, save_result
from edgeinfer.plan.calibration import Calibration, Rates, fingerprint
from edgeinfer.plan.calibration import save as save_calibration
from edgeinfer.server.auth.keys import Key, digest
from edgeinfer.store.store import Store
from tests.support.browser import run_in_browser
from tests.support.coder import Coder, call
from tests.support.daemon import Process, edgeinfer
from tests.support.faulty_hub import FaultyHub, trickle
from tests.support.faulty_hub import serving as serving_files
from tests.support.mcp_servers import config_file, shop_over_http
from tests.support.mirror import REPO, add
from tests.support.mirror import serving as mirroring
from tests.support.processes import children
from tests.support.server import Scripted, eventually, serving

pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(600)]

WORDS = 10_000
SLOWER = 4.0
"""Times that a frame may take at the end of a long answer, compared with its beginning; growth would be far more."""

REQUESTS = 30
BYTES = 120_000
"""What the page may ask for before a message can be written, and the bytes of all that, unpacked."""

HOSTILE = """Before <script>window.hacked = 1</script> <img src=x onerror="window.hacked = 2">

[a link](javascript:window.hacked=3) and [another](https://example.com/ "title")

![a picture](https://example.com/picture.png) <iframe src="https://example.com"></iframe>

<style>body { display: none }</style> <svg onload="window.hacked=4"><a xlink:href="javascript:window.hacked=5">x</a></svg>

\u202eabc\u2066def | a | b |

```html
<script>window.hacked = 6</script>
```

"""
TWO_MODELS = """
model = "nano"
ctx = 512

[models.nano]
model = "edgeinfer-nano"

[models.other]
model = "fake:5"
"""
SAFE = {"p", "br", "em", "strong", "code", "pre", "a", "div", "span", "button", "wbr"}


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    with edgeinfer(tmp_path_factory.mktemp("daemon"), "--port", "0") as process:
        assert eventually(lambda: httpx.get(f"{process.url()}/ready").status_code == 200, 60)
        yield process


@pytest.fixture(params=["chromium", "firefox"])
def browser(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def crash_in_an_answer(url: str) -> None:
    """Let the worker write a few tokens of the next answer, stop it for a while, and kill it."""

    def status() -> dict[str, Any]:
        found: dict[str, Any] = httpx.get(f"{url}/status").json()
        return found

    before = status()
    worker, written = before["worker_pid"], before["stats"]["completion_tokens_total"]
    os.kill(worker, signal.SIGSTOP)
    assert eventually(lambda: status()["models"][0]["active"], 60)
    while status()["stats"]["completion_tokens_total"] == written:
        os.kill(worker, signal.SIGCONT)
        time.sleep(0.005)
        os.kill(worker, signal.SIGSTOP)
    time.sleep(5)
    os.kill(worker, signal.SIGKILL)


def slow_load(process: Process) -> None:
    """Stop the next worker that the daemon starts for a while."""
    daemon = process.process.pid
    before = children("worker", daemon)

    def started() -> list[psutil.Process]:
        return [worker for worker in children("worker", daemon) if worker not in before]

    assert eventually(started, 60)
    (worker,) = started()
    worker.suspend()
    time.sleep(6)
    worker.resume()


def seen(browser: str, program: str, url: str, home: Path, **arguments: Any) -> dict[str, Any]:
    found = run_in_browser(browser, program, url, home, **arguments)
    assert found.pop("foreign") == []
    assert found.pop("errors") == []
    return found


def test_a_conversation(browser: str, daemon: Process, tmp_path: Path) -> None:
    found = seen(browser, "chat", daemon.url(), tmp_path)
    assert found["first"]
    assert "tokens/s" in found["figures"]
    assert "2 of 2" in found["again"]
    assert len(found["edited"]) == 1
    assert found["broken"] == []
    assert found["kept"] == ["Hello"]
    assert found["reopened"] == "What can you do?"


def test_a_tool_of_an_mcp_server_is_called_after_a_question(browser: str, tmp_path: Path) -> None:
    """The model is told what the user refuses; a tool that is always allowed needs no further question."""
    calls = [call("shop_price", item="nails", count=count) for count in (1, 2, 3)]
    with shop_over_http() as url:
        file = config_file(tmp_path / "mcp.json", shop={"url": url})
        with serving(Coder(*calls, "Six or nine."), mcp_servers=str(file)) as served:
            found = seen(browser, "mcp", served.url, tmp_path)
    assert "shop_price" in found["servers"][0]
    assert found["question"] == "Call shop_price with the arguments above?"
    assert json.loads(found["arguments"]) == {"item": "nails", "count": 1}
    refused, *results = found["results"]
    assert refused == "the user does not want this call"
    assert results == ["2 nails cost 6 EUR", "3 nails cost 9 EUR"]
    assert found["answer"].strip() == "Six or nine."
    assert found["broken"] == []


def test_a_tool_tried_by_hand_and_a_schema(browser: str, daemon: Process, tmp_path: Path) -> None:
    found = seen(browser, "tools", daemon.url(), tmp_path)
    assert found["call"] == "Call of get_weather"
    assert "Paris" in json.loads(found["arguments"])["city"]
    assert found["title"] == "Result of get_weather"
    assert found["result"] == json.dumps({"temperature": 21}, indent=2)
    answer = json.loads(found["json"])
    assert isinstance(answer["ok"], bool)
    assert found["json"] == json.dumps(answer, indent=2)
    block, original = found["copied"]
    assert block == original
    assert json.loads(block) == answer
    assert found["broken"] == []


def test_this_machine(browser: str, tmp_path: Path) -> None:
    """With what has been measured, another board, and one that does not answer."""
    measured(store := tmp_path / "store")
    with serving(Scripted()) as other:
        peers = f"{other.url}, http://127.0.0.1:1"
        with edgeinfer(tmp_path, "--port", "0", "--store", str(store), "--peers", peers) as process:
            url = process.url()
            assert eventually(lambda: httpx.get(f"{url}/ready").status_code == 200, 60)
            asked = {"prompt": "Hello, who are you, and what can you do?", "max_tokens": 4}
            for _ in range(2):
                assert httpx.post(f"{url}/v1/completions", json=asked).status_code == 200
            os.kill(httpx.get(f"{url}/status").json()["worker_pid"], signal.SIGKILL)
            assert eventually(lambda: httpx.get(f"{url}/status").json()["restarts"] == 1, 60)
            found = seen(browser, "machine", url, tmp_path)
    assert "edgeinfer-nano" in found["facts"][0]
    assert any(reason.startswith("threads ") for reason in found["reasons"])
    assert any(re.fullmatch(r"\d+ tokens, \d+ % of them from the cache", fact) for fact in found["facts"])
    assert found["exits"] == [["edgeinfer-nano", "SIGKILL"]]
    assert found["peers"] == [
        [other.url.removeprefix("http://"), "ready", "scripted"],
        ["127.0.0.1:1", "unreachablenothing answers at this address", "–"],
    ]
    assert found["links"] == [f"{other.url}/#machine", "http://127.0.0.1:1/#machine"]
    assert ["Prompt", "100.0", "100 tokens/s"] in found["bars"]
    assert ["One answer", "12.5", "12.5 tokens/s"] in found["bars"]
    assert ["Q4_0", "50.0", "4.5 GB/s"] in found["bars"]
    assert found["broken"] == []


def measured(store: Path) -> None:
    """Put results of both kinds of measurement where a daemon looks for them."""
    save_result(store, BenchmarkResult("edgeinfer-nano", "2026-01-01T12:00:00Z", 2, 100.0, 12.5, 20.0))
    profile = detect(models=store)
    assert profile.llama
    rates = Rates({"Q4_0": 4.5e9, "F16": 9e9, "": 4.5e9})
    save_calibration(
        store, Calibration(fingerprint(profile), profile.llama.version, "2026-01-01T12:00:00Z", rates)
    )


class SlowToLoad(Scripted):
    """Never becomes ready."""

    async def start(self) -> None:
        self.load_progress = 0.42


def test_a_load_shows_how_far_it_has_come(browser: str, tmp_path: Path) -> None:
    with serving(SlowToLoad()) as served:
        found = seen(browser, "loading", served.url, tmp_path)
    assert found["choice"] == "scripted (loading 42 %)"
    assert found["pause"].endswith("the model is being loaded (42 %).")
    assert found["table"] == "loading 42 %"


def test_the_api_can_be_read_and_tried(browser: str, daemon: Process, tmp_path: Path) -> None:
    """Its examples run as they stand."""
    found = seen(browser, "reference", daemon.url(), tmp_path)
    assert {"OpenAI", "Anthropic", "Ollama", "llama-server"} <= set(found["families"])
    assert found["routes"] > 40
    assert json.loads(found["answer"])["object"] == "text_completion"
    assert found["broken"] == []
    shell = subprocess.run(
        ["bash", "-c", found["examples"]["curl"]], capture_output=True, text=True, check=True
    )
    assert json.loads(shell.stdout)["object"] == "text_completion"
    python = subprocess.run(
        [sys.executable, "-c", found["examples"]["Python"]], capture_output=True, text=True, check=True
    )
    assert "text_completion" in python.stdout
    node = subprocess.run(
        ["node", "--input-type=module", "-e", found["examples"]["JavaScript"]],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "text_completion" in node.stdout


def test_a_crash_in_the_middle_of_an_answer_is_a_pause(browser: str, tmp_path: Path) -> None:
    """The model takes its time, so that the crash is in the middle however busy the machine is."""
    with edgeinfer(tmp_path, "--port", "0", "--model", "fake:20") as process:
        assert eventually(lambda: httpx.get(f"{process.url()}/ready").status_code == 200, 60)
        crash = threading.Thread(target=crash_in_an_answer, args=(process.url(),))
        crash.start()
        found = seen(browser, "crash", process.url(), tmp_path)
        crash.join()
    assert found["pause"].startswith("Pause of")
    assert 0 < len(found["before"]) < len(found["answer"])
    assert found["answer"].startswith(found["before"].strip())
    assert found["left"] == 0


def test_another_model_is_loaded_for_the_next_answer(browser: str, tmp_path: Path) -> None:
    """Its state can be seen while that takes long."""
    folder = tmp_path / "edgeinfer"
    folder.mkdir()
    (folder / "config.toml").write_text(TWO_MODELS)
    with edgeinfer(tmp_path, "--port", "0") as process:
        process.wait_for("READY=1\nSTATUS=serving nano")
        slow = threading.Thread(target=slow_load, args=(process,))
        slow.start()
        found = seen(browser, "switch", process.url(), tmp_path)
        slow.join()
    assert found["before"] == ["default", "nano (loaded)", "other (unloaded)"]
    assert found["pause"].endswith("the model is being loaded.")
    assert found["models"] == ["nano", "other"]
    assert all(found["answers"])
    assert found["label"] == "other"


def test_a_model_is_downloaded_and_deleted(browser: str, tmp_path: Path, model_file: Path) -> None:
    """From a mirror behind a slow line; it goes on while the page is left."""
    store = Store(tmp_path / "mirrored")
    add(store, model_file.read_bytes(), quant="Q8_0", file="some-Q8_0.gguf")
    with (
        mirroring(mirror_app(store)) as mirror,
        serving_files(FaultyHub(upstream=mirror, faults=[trickle(16, 0.3), trickle(16, 0.3)])) as hub,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("HF_ENDPOINT", hub.url)
        with edgeinfer(tmp_path, "--port", "0", "--store", str(tmp_path / "store")) as process:
            url, name = process.url(), f"hf.co/{REPO}:Q8_0"
            found = run_in_browser(browser, "download", url, tmp_path, model=name)
    assert found["foreign"] == []
    assert all("404" in error or "400" in error for error in found["errors"])
    assert "no/such" in found["problem"]
    assert any(re.search(r"MB \(\d+ %\), \d+ [kM]B/s, \d+ s left", words) for words in found["steps"])
    assert len(found["models"]) == 2
    assert found["left"] == 0
    assert found["broken"] == []


def test_a_key_is_asked_for_and_kept_for_the_tab_only(browser: str, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text(Key("page", digest(b"right-key-0123456789")).line() + "\n")
    keys.chmod(0o600)
    with serving(Scripted("Hi", " there"), api_key_file=str(keys)) as served:
        found = run_in_browser(browser, "key", served.url, tmp_path)
    assert found["foreign"] == []
    assert all("401" in error for error in found["errors"])
    assert found["broken"] == []
    assert found["problem"] == "The daemon does not know this key."
    assert found["answer"].strip() == "Hi there"
    assert found["kept"] == 0


def test_what_a_model_writes_does_no_harm(browser: str, tmp_path: Path) -> None:
    pieces = [HOSTILE[at : at + 7] for at in range(0, len(HOSTILE), 7)]
    with serving(Scripted(*pieces, "x" * 100_000, "\n\n", "*" * 5_000)) as served:
        found = seen(browser, "hostile", served.url, tmp_path)
    assert found["hacked"] is None
    assert set(found["elements"]) <= SAFE
    assert found["handlers"] == 0
    assert [link for link in found["links"] if link] == ["https://example.com/"]
    assert not found["wide"]
    assert found["length"] > 105_000


def test_an_answer_can_be_stopped(browser: str, tmp_path: Path) -> None:
    engine = Scripted(*(f"word{n} " for n in range(1000)))
    engine.hold_each = 0.02
    with serving(engine) as served:
        found = seen(browser, "stop", served.url, tmp_path)
    assert found["note"] == "Stopped."
    assert found["text"].startswith("word0 word1 ")
    assert "word999" not in found["text"]


def test_ten_thousand_tokens_do_not_slow_the_page(browser: str, tmp_path: Path) -> None:
    pieces = (f"word{n}{chr(10) * 2 if n % 80 == 79 else ' '}" for n in range(WORDS))
    engine = Scripted(*pieces)
    engine.hold_each = 0.001
    with serving(engine) as served:
        found = seen(browser, "long", served.url, tmp_path)
    assert found["words"] >= WORDS
    assert found["late"] < SLOWER * max(found["early"], 16.0), found


def test_the_page_needs_little(daemon: Process, tmp_path: Path) -> None:
    """How much is read and run before a message can be written decides how soon the page is there on a slow board."""
    found = seen("chromium", "size", daemon.url(), tmp_path)
    assert found["all"] > found["requests"], "what highlights code can wait"
    assert found["requests"] <= REQUESTS, found
    assert found["bytes"] <= BYTES, found
