"""The address, the daemon that answers there, and a model that answers."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

import edgeinfer
from edgeinfer.client.http import Target
from edgeinfer.client.status import ModelReply, StatusReply
from edgeinfer.doctor import daemon, port, self_test
from edgeinfer.doctor.context import DoctorContext
from edgeinfer.doctor.daemon import DaemonProbe
from edgeinfer.settings import Settings
from tests.support.cli import EDGEINFER, environment, run
from tests.support.doctor import RUNNING, brief


class Answering(ThreadingHTTPServer):
    """Says what it is told to, by path, and notes the keys that it is shown."""

    def __init__(self, says: dict[str, tuple[int, Any]]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.says = says
        self.shown: dict[str, str | None] = {}
        self.target = Target(f"http://127.0.0.1:{self.server_address[1]}")


class Handler(BaseHTTPRequestHandler):
    server: Answering

    def do_GET(self) -> None:
        self.server.shown[self.path] = self.headers["Authorization"]
        status, body = self.server.says.get(self.path, (404, {}))
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def answering(**says: tuple[int, Any]) -> Iterator[Answering]:
    """Who answers so: path without its slash -> status and body."""
    server = Answering({f"/{path}": answer for path, answer in says.items()})
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


READY = (200, {"status": "ready", "model": "nano"})


STATUS = (200, {"version": "0.1.0", "pid": 7, "restarts": 0, "fallback": ["mmap off"], "new": 1})


LOCKED = (401, {"error": {"code": "invalid_api_key", "message": "no"}})


def test_who_answers() -> None:
    """A daemon, one that wants a key, another program, nobody."""
    with answering(ready=READY, status=STATUS) as server:
        report = StatusReply("0.1.0", 7, fallback=["mmap off"])
        assert daemon.probe(server.target) == DaemonProbe("edgeinfer", "ready", None, "nano", report)
    with answering(ready=READY, status=LOCKED) as server:
        assert daemon.probe(server.target) == DaemonProbe("edgeinfer", "ready", None, "nano", None)
    for other in ({"ready": READY}, {}, {"ready": (200, [1])}, {"ready": READY, "status": (200, "x")}):
        with answering(**other) as server:
            assert daemon.probe(server.target).listener == "other"
    assert daemon.probe(server.target) == DaemonProbe("none")
    assert daemon.probe(Target("http://x", uds="/nowhere/s")) == DaemonProbe("none")


def test_a_stranger_is_not_shown_the_key() -> None:
    """Only who answers as a daemon does."""
    for says in ({}, {"ready": READY, "status": STATUS}):
        with answering(**says) as server:
            daemon.probe(replace(server.target, api_key="secret"))
            assert server.shown == {"/ready": None, **({"/status": "Bearer secret"} if says else {})}


def test_a_daemon_that_answers() -> None:
    """With its model; a key that we have not got is no fault."""
    here = StatusReply(edgeinfer.__version__, 7)
    well = DaemonProbe("edgeinfer", "ready", None, "nano", here)
    assert brief(daemon.check_daemon(well, RUNNING)) == [
        ("ok", f"edgeinfer {edgeinfer.__version__} answers with nano")
    ]
    assert brief(daemon.check_daemon(replace(well, status=None), None)) == [
        ("ok", "edgeinfer answers with nano")
    ]


@pytest.mark.parametrize(
    ("answer", "report", "level", "text"),
    [
        ({"state": "starting"}, {}, "note", "the daemon does not answer prompts: starting"),
        ({"state": "restarting"}, {}, "warning", "the daemon does not answer prompts: restarting"),
        ({"state": "failed", "reason": "SIGILL"}, {}, "error", "the daemon does not answer prompts: failed, SIGILL"),
        ({}, {"version": "0.0.1"}, "warning", f"the daemon runs version 0.0.1, but {edgeinfer.__version__} is installed"),
        ({}, {"restarts": 2, "last_exit": "SIGKILL"}, "warning", "the worker has crashed 2 times, most recently with SIGKILL"),
        ({}, {"fallback": ["repack off instead of on: SIGILL"]}, "warning", "the model is not loaded as planned: repack off instead of on: SIGILL"),
        ({}, {"pid": 9}, "warning", "process 9 answers instead of the service, process 7"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_daemon(
    answer: dict[str, Any], report: dict[str, Any], level: str, text: str
) -> None:
    """One finding each."""
    here = replace(StatusReply(edgeinfer.__version__, 7), **report)
    probe = replace(DaemonProbe("edgeinfer", "ready", None, "nano", here), **answer)
    assert brief(daemon.check_daemon(probe, RUNNING)) == [(level, text)]


@pytest.mark.parametrize(
    ("model", "level", "text"),
    [
        (ModelReply("b", "failed", error="no such file"), "error", "b does not answer prompts: failed, no such file"),
        (ModelReply("b", "restarting"), "warning", "b does not answer prompts: restarting"),
        (ModelReply("b", "ready", restarts=1), "warning", "the worker of b has crashed once"),
        (ModelReply("b", "ready"), "ok", f"edgeinfer {edgeinfer.__version__} answers with nano, b"),
        (ModelReply("b", "unloaded"), "ok", f"edgeinfer {edgeinfer.__version__} answers with nano"),
    ],
)  # fmt: skip
def test_each_model_of_a_daemon_is_checked(model: ModelReply, level: str, text: str) -> None:
    """The default one has its findings already."""
    default = ModelReply("nano", "ready", default=True)
    status = StatusReply(edgeinfer.__version__, 7, models=[default, model])
    findings = daemon.check_daemon(DaemonProbe("edgeinfer", "ready", None, "nano", status), RUNNING)
    assert brief(findings) == [(level, text)]


def test_a_daemon_that_is_not_there() -> None:
    """It need not be, unless the service says that it runs, or waits."""
    assert brief(daemon.check_daemon(DaemonProbe("none"), None)) == [("ok", "no daemon is running")]
    assert daemon.check_daemon(DaemonProbe("none"), RUNNING)[0].level == "error"
    assert brief(daemon.check_daemon(DaemonProbe("manager"), RUNNING)) == [
        ("ok", "the first request starts the daemon")
    ]
    assert daemon.check_daemon(DaemonProbe("unknown", reason="no certificate"), None)[0].level == "note"


def test_a_port_that_is_free_or_taken() -> None:
    """By another program, which is named; a bound one that does not listen is taken too."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        [finding] = port.check_port(Settings(port=number), DaemonProbe("other"))
        assert (finding.level, f"(pid {os.getpid()})" in finding.text) == ("error", True)
        assert port.check_port(Settings(port=number), DaemonProbe("none"))[0].level == "error"
        text = f"edgeinfer is listening on 127.0.0.1:{number}"
        assert brief(port.check_port(Settings(port=number), DaemonProbe("edgeinfer"))) == [("ok", text)]
    assert brief(port.check_port(Settings(port=number), DaemonProbe("none"))) == [
        ("ok", f"127.0.0.1:{number} is free")
    ]
    assert port.check_port(Settings(host="localhost", port=number), DaemonProbe("none"))[0].level == "ok"


def test_addresses_that_cannot_be_had() -> None:
    """Another machine's, no name, none that stays."""
    [foreign] = port.check_port(Settings(host="192.0.2.1"), DaemonProbe("none"))
    assert (foreign.level, foreign.text) == ("error", "192.0.2.1 is not an address of this machine")
    [unknown] = port.check_port(Settings(host="no such host"), DaemonProbe("none"))
    assert unknown.level == "error"
    assert port.check_port(Settings(port=0), DaemonProbe("none"))[0].level == "note"


def test_ollama_s_port_is_looked_at_where_it_is_wanted() -> None:
    """Before the daemon is started, which would not start: Ollama itself may run there."""
    with socket.create_server(("127.0.0.1", 0)) as ollama:
        settings = Settings(port=0, ollama_port=ollama.getsockname()[1])
        [_, taken] = port.check_port(settings, DaemonProbe("none"))
        assert ("error", True) == (taken.level, "Ollama is probably running" in (taken.fix or ""))
        assert 1 == len(port.check_port(settings, DaemonProbe("edgeinfer")))
    assert ["note", "ok"] == [found.level for found in port.check_port(settings, DaemonProbe("none"))]
    assert port.check_port(Settings(), DaemonProbe("unknown")) == []
    assert port.check_port(Settings(), DaemonProbe("manager"))[0].level == "ok"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may")
def test_a_port_for_root_alone() -> None:
    """Below 1024."""
    assert port.check_port(Settings(port=1), DaemonProbe("none"))[0].fix == "set port to 1024 or above"


def test_unix_sockets(tmp_path: Path) -> None:
    """Free, no socket, without a folder, another program's."""
    path = tmp_path / "s"
    assert brief(port.check_port(Settings(uds=str(path)), DaemonProbe("none"))) == [("ok", f"{path} is free")]
    path.write_text("")
    assert port.check_port(Settings(uds=str(path)), DaemonProbe("none"))[0].text == f"{path} is not a socket"
    missing = tmp_path / "none/s"
    assert (
        port.check_port(Settings(uds=str(missing)), DaemonProbe("none"))[0].fix
        == f"mkdir -p {tmp_path / 'none'}"
    )
    [taken] = port.check_port(Settings(uds=str(path)), DaemonProbe("other"))
    assert taken.text == f"{path} is used by another program"


def test_the_bundled_model_answers(tmp_path: Path) -> None:
    """In a real worker."""
    config = DoctorContext(environment(tmp_path)).bundled
    [finding] = self_test.check_answer(config, "rebuild")
    assert finding.level == "ok"
    assert re.fullmatch(r"the bundled model answers, \d+ tok/s", finding.text)


def test_a_model_that_does_not_answer(tmp_path: Path) -> None:
    """It cannot be loaded, or takes too long. What is known to be wrong with the build explains it better."""
    config = replace(DoctorContext(environment(tmp_path)).bundled, model=str(tmp_path / "none.gguf"))
    [finding] = self_test.check_answer(config, "rebuild")
    assert finding.level == "error"
    [known] = self_test.check_answer(config, "rebuild", unsuitable="llama.cpp was built for another CPU")
    assert known.text == "the bundled model does not answer: llama.cpp was built for another CPU"
    [slow] = self_test.check_answer(config, "rebuild", timeout=0.01)
    assert (slow.level, slow.text) == ("error", "the bundled model did not answer within 0.01 s")


def test_a_running_daemon_is_examined(tmp_path: Path) -> None:
    """A real one, at a real port."""
    process = subprocess.Popen(
        [*EDGEINFER, "serve", "--model", "fake", "--port", "0"],
        stderr=subprocess.PIPE,
        text=True,
        env=environment(tmp_path),
    )
    assert process.stderr
    try:
        number = re.search(r":(\d+)$", process.stderr.readline())
        assert number
        run(tmp_path, "chat", "wait until it answers", EDGEINFER_PORT=number[1])
        done = run(tmp_path, "doctor", "--json", "--fast", EDGEINFER_PORT=number[1])
    finally:
        process.terminate()
        process.communicate(timeout=30)
    findings = {finding["check"]: (finding["level"], finding["text"]) for finding in json.loads(done.stdout)}
    assert findings["daemon"] == ("ok", f"edgeinfer {edgeinfer.__version__} answers with fake")
    assert findings["port"] == ("ok", f"edgeinfer is listening on 127.0.0.1:{number[1]}")
