"""The daemon reads its settings again, and requests go on meanwhile."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from edgeinfer.cli.reload import _daemon_pid
from edgeinfer.client.http import Target
from edgeinfer.errors import EdgeinferError
from edgeinfer.server.reload import RELOADED
from edgeinfer.settings import FIELDS
from tests.support.daemon import Process, edgeinfer, stream
from tests.support.mcp_servers import config_file
from tests.support.paths import ROOT
from tests.support.server import eventually

NORMAL = {"model": "fake:20", "ctx": 512, "parallel": 4, "drain_timeout": 20.0}


def write(tmp_path: Path, **settings: Any) -> None:
    """The configuration file."""
    folder = tmp_path / "edgeinfer"
    folder.mkdir(exist_ok=True)
    given = {"store": str(tmp_path / "store"), **NORMAL, **settings}
    lines = [f"{name} = {json.dumps(value)}" for name, value in given.items()]
    (folder / "config.toml").write_text("\n".join(lines))


@contextmanager
def daemon(tmp_path: Path, *arguments: str, **settings: Any) -> Iterator[Process]:
    """One that is ready."""
    write(tmp_path, **settings)
    with edgeinfer(tmp_path, "--port", "0", *arguments) as process:
        process.url()
        process.wait_for("READY=1\nSTATUS=serving fake")
        yield process


def reload(tmp_path: Path, url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`edgeinfer reload`."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("EDGEINFER_", "XDG_"))}
    here = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "edgeinfer", "reload", "--url", url, *arguments]
    return subprocess.run(command, env={**clean, **here}, capture_output=True, text=True, check=False)


def status(url: str) -> dict[str, Any]:
    found: dict[str, Any] = httpx.get(f"{url}/status").json()
    return found


def test_settings_change_while_an_answer_is_written(tmp_path: Path) -> None:
    """It ends where it is; what comes after it finds the new ones. The service manager is told."""
    with daemon(tmp_path) as process:
        url, before = process.url(), status(process.url())
        got, started = list[str](), threading.Event()
        client = threading.Thread(target=stream, args=(url, 150, got, started))
        client.start()
        assert started.wait(20)
        write(tmp_path, ctx=1024, parallel=2, drain_timeout=30.0)
        found = reload(tmp_path, url)
        assert (0, "") == (found.returncode, found.stderr)
        assert "ctx 1024 instead of 512" in found.stdout
        assert "parallel 2 instead of 4" in found.stdout
        after = status(url)
        assert (1024, 2) == (after["plan"]["config"]["ctx"], after["plan"]["config"]["parallel"])
        assert (1024, f"file {tmp_path}/edgeinfer/config.toml") == (
            after["settings"]["ctx"]["value"],
            after["settings"]["ctx"]["source"],
        )
        assert 30.0 == after["settings"]["drain_timeout"]["value"]
        assert before["worker_pid"] != after["worker_pid"]
        assert before["pid"] == after["pid"]
        client.join()
        assert "[DONE]" in "".join(got)
        assert process.notification().startswith("RELOADING=1\nMONOTONIC_USEC=")
        assert process.notification() == "READY=1\nSTATUS=serving fake"
        assert process.end() == 0
    assert any("edgeinfer.audit: reloaded model=fake" in line for line in process.lines)


def test_another_model_is_served_under_its_own_name(tmp_path: Path, model_file: Path) -> None:
    """And the old name is no longer known."""
    with daemon(tmp_path) as process:
        url = process.url()
        write(tmp_path, model=str(model_file), ctx=256)
        found = reload(tmp_path, url, "--json")
        assert ("done", 1) == ((told := json.loads(found.stdout))["state"], told["number"])
        (model,) = httpx.get(f"{url}/v1/models").json()["data"][:1]
        assert model["id"] in told["message"]
        asked = {"model": model["id"], "prompt": "Hello", "max_tokens": 3}
        assert httpx.post(f"{url}/v1/completions", json=asked, timeout=60).status_code == 200
        assert httpx.post(f"{url}/v1/completions", json={**asked, "model": "fake"}).status_code == 404


@pytest.mark.slow
def test_what_cannot_be_loaded_changes_nothing(tmp_path: Path) -> None:
    """The reason is told by the command, the status and the log, and the next reload may succeed."""
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"no model")
    with daemon(tmp_path) as process:
        url, before = process.url(), status(process.url())
        for settings, reason in (
            ({"model": str(broken)}, "broken.gguf"),
            ({"model": "fake:broken"}, "fake:broken"),
            ({"paralel": 2}, "parallel"),
            ({"ctx": 1}, "ctx"),
        ):
            write(tmp_path, **settings)
            found = reload(tmp_path, url)
            assert (1, "") == (found.returncode, found.stdout)
            assert "changed nothing" in found.stderr
            assert reason in found.stderr
            after = status(url)
            assert ("failed", "ready") == (after["reload"]["state"], after["state"])
            assert before["worker_pid"] == after["worker_pid"]
            assert before["settings"] == after["settings"]
        write(tmp_path, ctx=256)
        assert 0 == reload(tmp_path, url).returncode
        assert 5 == status(url)["reload"]["number"]
        assert process.end() == 0
    assert any("the reload failed" in line and "broken.gguf" in line for line in process.lines)


def test_what_takes_a_restart_is_named(tmp_path: Path) -> None:
    """Each time anew, as long as it is not in force; the rest is."""
    with daemon(tmp_path) as process:
        url, before = process.url(), status(process.url())
        for ctx in (256, 128):
            write(tmp_path, ctx=ctx, host="127.0.0.2", queue=5)
            found = reload(tmp_path, url)
            assert 0 == found.returncode
            assert "host and queue take effect after a restart" in found.stderr
            after = status(url)
            assert ctx == after["settings"]["ctx"]["value"]
            for name in ("host", "queue", "port"):
                assert before["settings"][name] == after["settings"][name]


def test_other_boards_are_named_without_a_restart(tmp_path: Path) -> None:
    """What is no address changes nothing, and says so."""
    with daemon(tmp_path) as process:
        url = process.url()
        write(tmp_path, peers="http://127.0.0.1:1")
        done = reload(tmp_path, url)
        assert (done.returncode, "restart" in done.stderr) == (0, False)
        (peer,) = httpx.get(f"{url}/peers").json()["peers"]
        assert (peer["url"], peer["condition"]) == ("http://127.0.0.1:1", "unreachable")
        write(tmp_path, peers="ftp://x")
        failed = reload(tmp_path, url)
        assert failed.returncode == 1
        assert "is not the address of a board" in failed.stderr
        assert len(httpx.get(f"{url}/peers").json()["peers"]) == 1
        assert status(url)["settings"]["peers"]["value"] == "http://127.0.0.1:1"


def test_mcp_servers_are_named_without_a_restart(tmp_path: Path) -> None:
    """The file is read anew, also where the setting is the same; one with a mistake changes nothing."""
    file = config_file(tmp_path / "servers.json", one={"url": "http://127.0.0.1:1"})
    with daemon(tmp_path) as process:
        url = process.url()

        def names() -> list[str]:
            return [server["name"] for server in httpx.get(f"{url}/mcp/tools", timeout=30).json()["servers"]]

        assert names() == []
        write(tmp_path, mcp_servers=str(file))
        done = reload(tmp_path, url)
        assert (done.returncode, "restart" in done.stderr) == (0, False)
        assert names() == ["one"]
        config_file(file, two={"url": "http://127.0.0.1:1"})
        assert reload(tmp_path, url).returncode == 0
        assert names() == ["two"]
        config_file(file, three={"command": "sh"})
        failed = reload(tmp_path, url)
        assert failed.returncode == 1
        assert "the daemon starts no programs" in failed.stderr
        assert names() == ["two"]


def test_flags_hold_on(tmp_path: Path) -> None:
    """They are above the file, at every reload."""
    with daemon(tmp_path, "--ctx", "300", "--model", "fake:20") as process:
        write(tmp_path, ctx=1024, model="fake:broken", parallel=3)
        assert 0 == reload(tmp_path, process.url()).returncode
        config = status(process.url())["plan"]["config"]
        assert (300, 3, "fake:20") == (config["ctx"], config["parallel"], config["model"])


def test_nothing_changed_disturbs_nobody(tmp_path: Path) -> None:
    """The worker stays, whether it is told by the command or by a signal."""
    with daemon(tmp_path) as process:
        url, before = process.url(), status(process.url())
        assert "as before" in reload(tmp_path, url).stdout
        process.process.send_signal(signal.SIGHUP)
        assert eventually(lambda: status(url)["reload"] == {**status(url)["reload"], "number": 2}, 20)
        assert eventually(lambda: status(url)["reload"]["state"] == "done", 20)
        assert before["worker_pid"] == status(url)["worker_pid"]


def test_reloads_come_one_after_the_other(tmp_path: Path) -> None:
    """Signals in a row are as many reloads at most, and the last one counts."""
    with daemon(tmp_path) as process:
        url = process.url()
        for parallel in (2, 3, 5):
            write(tmp_path, parallel=parallel)
            process.process.send_signal(signal.SIGHUP)
        assert eventually(lambda: status(url)["plan"]["config"]["parallel"] == 5, 30)
        assert process.end() == 0


def test_a_signal_joins_a_reload_that_has_not_begun(tmp_path: Path) -> None:
    """However many there are: it will read the settings of that time."""
    with daemon(tmp_path) as process:
        url = process.url()
        for _ in range(12):
            process.process.send_signal(signal.SIGHUP)
            time.sleep(0.002)
        write(tmp_path, parallel=3)
        process.process.send_signal(signal.SIGHUP)
        assert eventually(lambda: status(url)["plan"]["config"]["parallel"] == 3, 30)
        assert eventually(lambda: status(url)["reload"]["state"] == "done", 30)
        assert status(url)["reload"]["number"] < 6


def test_hundreds_of_signals_make_few_reloads(tmp_path: Path) -> None:
    """Also where each would be through before the next comes."""
    with daemon(tmp_path) as process:
        url, started = process.url(), time.monotonic()
        for _ in range(300):
            process.process.send_signal(signal.SIGHUP)
            time.sleep(0.01)
        assert eventually(lambda: status(url)["reload"]["state"] == "done", 30)
        assert status(url)["reload"]["number"] <= time.monotonic() - started + 2


TABLES = """
[models.letters]
model = "fake:10"
[models.words]
model = "edgeinfer-nano"
[models.same]
model = "SAME"
"""
"""Two models whose answers cannot be mistaken for each other, and a name that stands for one or the other."""


@pytest.mark.parametrize(
    ("before", "after", "drain", "answered"),
    [
        (("letters", ""), ("words", ""), 30.0, True),
        (("letters", ""), ("words", ""), 0.2, False),
        (("same", "fake:10"), ("same", "edgeinfer-nano"), 30.0, False),
    ],
    ids=["in-time", "too-late", "same-name"],
)
def test_a_chat_in_line_is_answered_by_the_model_it_was_rendered_for(
    tmp_path: Path, before: tuple[str, str], after: tuple[str, str], drain: float, answered: bool
) -> None:
    """Or told that it cannot be: its prompt holds that model's control tokens."""

    def configure(model: str, same: str) -> None:
        write(tmp_path, model=model, parallel=1, drain_timeout=drain)
        with (tmp_path / "edgeinfer" / "config.toml").open("a") as file:
            file.write(TABLES.replace("SAME", same or "fake"))

    def chat(tokens: int, text: str, **fields: Any) -> httpx.Response:
        body = {"messages": [{"role": "user", "content": text}], "max_tokens": tokens, "seed": 1, **fields}
        return httpx.post(f"{url}/v1/chat/completions", json={"ignore_eos": True, **body}, timeout=60)

    configure(*before)
    with edgeinfer(tmp_path, "--port", "0") as process, ThreadPoolExecutor(4) as pool:
        process.wait_for(f"READY=1\nSTATUS=serving {before[0]}")
        url = process.url()
        expected = content(chat(10, "Second"))
        long = pool.submit(chat, 150, "First")
        assert eventually(lambda: status(url)["stats"]["running"] == 1, 10)
        in_line = [pool.submit(chat, 10, "Second") for _ in range(3)]
        assert eventually(lambda: status(url)["models"][0]["active"] == 4, 10)
        configure(*after)
        process.process.send_signal(signal.SIGHUP)
        for response in [future.result() for future in in_line]:
            if answered or response.status_code == 200:
                assert expected == content(response)
            else:
                assert (503, "model_replaced") == (response.status_code, response.json()["error"]["code"])
        assert long.result().status_code in ((200,) if drain > 1 else (200, 503))
        assert eventually(lambda: status(url)["reload"]["state"] == "done", 30)
        assert after[0] == status(url)["model"]["name"]
        assert content(chat(10, "Second")) != expected


def content(response: httpx.Response) -> str:
    assert response.status_code == 200, response.text
    text: str = response.json()["choices"][0]["message"]["content"]
    return text


def test_a_stop_in_the_middle_of_a_reload_is_a_stop(tmp_path: Path) -> None:
    """Clean, and nobody is left."""
    with daemon(tmp_path) as process:
        write(tmp_path, parallel=2)
        process.process.send_signal(signal.SIGHUP)
        process.notification()
        assert process.end() == 0
        assert "Traceback" not in "".join(process.lines)


def test_a_daemon_elsewhere_is_not_signalled() -> None:
    """Whatever has its number here is somebody else's process."""
    sleeper = subprocess.Popen(["sleep", "60"])
    try:
        for pid in (sleeper.pid, 2**22 - 1, 0, -1, "1", None):
            with pytest.raises(EdgeinferError, match="not a process on this machine"):
                _daemon_pid(Target("http://elsewhere:1"), {"pid": pid})
    finally:
        sleeper.kill()
        sleeper.wait()


def test_a_second_sigterm_ends_the_daemon_at_once(tmp_path: Path) -> None:
    """Whoever sends it will not wait for drain_timeout; the answer under way is told."""
    with daemon(tmp_path, ctx=4096, drain_timeout=60.0) as process:
        got, started = list[str](), threading.Event()
        client = threading.Thread(target=stream, args=(process.url(), 4000, got, started))
        client.start()
        assert started.wait(20)
        process.process.send_signal(signal.SIGTERM)
        process.wait_for("STOPPING=1")
        begun = time.monotonic()
        assert process.end(signal.SIGTERM) == 0
        assert time.monotonic() - begun < 30
        client.join()
    assert "shutting_down" in "".join(got)


def test_whoever_closes_the_terminal_ends_the_daemon(tmp_path: Path) -> None:
    """It would have no place in a terminal that is gone; a signal alone is a reload there too."""
    write(tmp_path)
    terminal, theirs = pty.openpty()
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("EDGEINFER_", "XDG_"))}
    here = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    uds = tmp_path / "s"
    process = subprocess.Popen(
        [sys.executable, "-m", "edgeinfer", "serve", "--uds", str(uds)],
        env={**clean, **here},
        stdin=theirs,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    os.close(theirs)
    try:
        transport = httpx.HTTPTransport(uds=str(uds), retries=0)
        with httpx.Client(transport=transport, base_url="http://any", timeout=30) as client:
            assert eventually(uds.exists, 60)
            assert eventually(lambda: client.get("/ready").status_code == 200, 60)
            process.send_signal(signal.SIGHUP)
            assert eventually(lambda: (client.get("/status").json()["reload"] or {}).get("number") == 1, 60)
        os.close(terminal)
        process.send_signal(signal.SIGHUP)  # as the kernel does where the terminal is the controlling one
        assert 0 == process.wait(60)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def test_every_setting_that_is_reloaded_exists() -> None:
    """And those that make the socket are not among them."""
    assert RELOADED <= FIELDS.keys()
    assert not RELOADED & {"host", "port", "uds", "api_key_file"}
