"""The daemon's life: where it listens, when it is ready, and how it ends."""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import psutil
import pytest

from edgeinfer.errors import SettingsError
from edgeinfer.server.http import sockets
from edgeinfer.server.http.sockets import address, bind, check_exposure, is_loopback
from edgeinfer.server.run import run
from edgeinfer.settings import Loaded, Settings
from tests.support.cli import environment
from tests.support.daemon import edgeinfer, listens, stream
from tests.support.paths import ROOT
from tests.support.processes import children
from tests.support.server import Scripted, application, eventually, parse


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.1.2", False),
        ("board.lan", False),
        ("", False),
    ],
)
def test_loopback_is_what_only_this_machine_reaches(host: str, expected: bool) -> None:
    """A name is not trusted: what it resolves to may change."""
    assert is_loopback(host) is expected


def test_other_machines_need_a_key() -> None:
    """The daemon refuses before anything is loaded, and says how to get one."""
    with pytest.raises(SettingsError) as e:
        run(Loaded(Settings(model="fake", host="0.0.0.0", port=0), {}))
    assert e.value.param == "host"
    assert "edgeinfer key add" in str(e.value.hint)
    check_exposure(Settings(host="0.0.0.0", api_key_file="keys"))
    check_exposure(Settings(host="0.0.0.0", uds="socket"))


@pytest.mark.parametrize(
    "host",
    [
        "",
        "999.1.1.1",
        "127.0.0",
        "::1::",
        "1.2.3.4.5",
        "localhost:80",
        "0.0.0.0:80",
        "http://0.0.0.0",
        "[::1]",
    ],
)
def test_a_host_that_is_no_address_is_said_to_be_none(host: str) -> None:
    """Nor is one with a port or a scheme, which a key would not help."""
    for key_file in (None, "keys"):
        with pytest.raises(SettingsError, match="is not an address or name"):
            check_exposure(Settings(host=host, api_key_file=key_file))


@pytest.mark.parametrize("host", ["board.lan", "::", "fe80::1", "fe80::1%eth0", "192.168.1.2"])
def test_an_address_or_a_name_is_a_host(host: str) -> None:
    check_exposure(Settings(host=host, api_key_file="keys"))


def test_a_taken_port_is_told_before_anything_is_loaded() -> None:
    """With a hint: most often it is edgeinfer itself."""
    (first,) = bind(Settings(port=0))
    with first, pytest.raises(SettingsError, match="in use") as e:
        bind(Settings(port=first.getsockname()[1]))
    assert "edgeinfer status" in str(e.value.hint)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (errno.EACCES, "1024"),
        (errno.EADDRNOTAVAIL, "an address of this machine"),
        (errno.EADDRINUSE, "edgeinfer status"),
    ],
)
def test_each_reason_not_to_listen_has_its_own_advice(
    monkeypatch: pytest.MonkeyPatch, code: int, words: str
) -> None:
    """A port of root's is not in use."""

    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(sockets, "_bind_tcp", refuse)
    with pytest.raises(SettingsError) as e:
        bind(Settings(host="127.0.0.1", port=80))
    assert words in str(e.value.hint)


def test_all_addresses_of_a_name_get_the_same_port() -> None:
    """localhost may be two addresses."""
    bound = bind(Settings(host="localhost", port=0))
    assert len({s.getsockname()[1] for s in bound}) == 1
    for sock in bound:
        assert address(sock).startswith("http://")
        sock.close()


def test_an_unknown_host_is_a_settings_error() -> None:
    """Not a traceback."""
    with pytest.raises(SettingsError):
        bind(Settings(host="no.such.host.invalid", port=0))
    with pytest.raises(SettingsError):
        bind(Settings(host="203.0.113.1", port=0))


def test_a_unix_socket_replaces_a_dead_one_only(tmp_path: Path) -> None:
    """Never a living daemon's, never a file."""
    path = tmp_path / "edgeinfer.sock"
    settings = Settings(uds=str(path))
    (first,) = bind(settings)
    assert address(first) == f"unix:{path}"
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    with pytest.raises(SettingsError, match="another daemon"):
        bind(settings)
    first.close()
    bind(settings)[0].close()
    path.unlink()
    path.write_text("precious")
    with pytest.raises(SettingsError, match="not a socket"):
        bind(settings)
    assert path.read_text() == "precious"


def test_the_application_has_no_state_outside_itself() -> None:
    """Two daemons in one process do not know of each other."""
    one, other = application(Scripted()), application(Scripted())
    assert one.state.edgeinfer.metrics.registry is not other.state.edgeinfer.metrics.registry


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_daemon_says_where_it_is_when_it_is_ready_and_when_it_stops(tmp_path: Path, number: int) -> None:
    """To people on stderr, to systemd by its socket; a stop that was asked for is no failure."""
    with edgeinfer(tmp_path, "--model", "fake", "--port", "0") as process:
        url = process.url()
        assert url.startswith("http://127.0.0.1:")
        assert process.notification().startswith("READY=1")
        assert httpx.get(f"{url}/ready").status_code == 200
        assert process.end(number) == 0
        assert process.notification() == "STOPPING=1"
        assert "Traceback" not in "".join(process.lines)


def test_a_model_that_cannot_be_loaded_ends_the_daemon_with_3(tmp_path: Path) -> None:
    """So that systemd does not try for ever; the reason is in the log."""
    with edgeinfer(tmp_path, "--model", "fake:broken", "--port", "0") as process:
        assert process.process.wait(30) == 3
        process._reader.join()
        assert any("cannot be loaded" in line and "broken" in line for line in process.lines)


def test_a_unix_socket_serves_and_is_gone_afterwards(tmp_path: Path) -> None:
    """No port, no key, no Host check."""
    path = tmp_path / "s"
    with edgeinfer(tmp_path, "--model", "fake", "--uds", str(path)) as process:
        assert process.url() == f"unix:{path}"
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(path)), base_url="http://any") as client:
            assert client.get("/v1/models").json()["data"][0]["id"] == "fake"
        assert process.end() == 0
    assert not path.exists()


SLOW = ("--model", "fake:30", "--port", "0", "--drain-timeout")


@pytest.mark.parametrize(("drain", "ended"), [("20", "[DONE]"), ("0.3", "shutting_down")])
def test_a_stop_lets_answers_end_or_tells_them(tmp_path: Path, drain: str, ended: str) -> None:
    """A stream ends by itself within drain_timeout, else with an error; nothing hangs."""
    with edgeinfer(tmp_path, *SLOW, drain) as process:
        got, started = list[str](), threading.Event()
        client = threading.Thread(target=stream, args=(process.url(), 60, got, started))
        client.start()
        assert started.wait(20)
        begun = time.monotonic()
        assert process.end() == 0
        assert time.monotonic() - begun < 10
        client.join()
    assert ended in "".join(got)
    assert len(parse("".join(got))) > 1


def test_a_second_ctrl_c_ends_it_at_once(tmp_path: Path) -> None:
    """Whoever is impatient gets what is left of the answer, and the prompt back."""
    with edgeinfer(tmp_path, *SLOW, "60") as process:
        got, started = list[str](), threading.Event()
        client = threading.Thread(target=stream, args=(process.url(), 2000, got, started))
        client.start()
        assert started.wait(20)
        process.process.send_signal(signal.SIGINT)
        process.wait_for("STOPPING=1")
        assert process.process.poll() is None
        assert eventually(lambda: any("a second signal (Ctrl-C) stops it" in line for line in process.lines))
        assert process.end(signal.SIGINT) == 0
        client.join()
    assert "shutting_down" in "".join(got)
    assert "ERROR" not in "".join(process.lines)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_without_requests_is_no_error_either(tmp_path: Path, number: int) -> None:
    """Two at once, as a process manager and a terminal may send them."""
    with edgeinfer(tmp_path, "--model", "fake", "--port", "0") as process:
        process.url()
        process.process.send_signal(number)
        assert process.end(number) == 0
        process._reader.join()
    assert "ERROR" not in "".join(process.lines)
    assert "running answer" not in "".join(process.lines)


@pytest.mark.parametrize("model", ["fake", "edgeinfer-nano"])
def test_a_log_that_cannot_be_written_at_the_start_ends_the_daemon(tmp_path: Path, model: str) -> None:
    """With a status of failure, and nothing left behind; it does not go on without saying where it listens."""
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    command = [sys.executable, "-m", "edgeinfer", "serve", "--model", model, "--port", "0"]
    with Path("/dev/full").open("w") as full:
        environ = {**environment(tmp_path), "EDGEINFER_TEST": str(tmp_path)}
        assert subprocess.run(command, stderr=full, env=environ, timeout=60, check=False).returncode == 1
    assert not [p for p in psutil.process_iter() if belongs_to(p, tmp_path)]


def test_a_stop_while_it_starts_leaves_nothing_behind(tmp_path: Path) -> None:
    """The model loads already while the daemon still imports its routes."""
    with edgeinfer(tmp_path, "--model", "edgeinfer-nano", "--port", "0") as process:
        daemon = psutil.Process(process.process.pid)
        assert eventually(lambda: any("listening" in line for line in process.lines), 20)
        assert children("worker", daemon.pid)
        started = daemon.children()
        assert process.end() == 0
        process._reader.join()
    assert eventually(lambda: not [child for child in started if child.is_running()])
    assert "Traceback" not in "".join(process.lines)


def test_a_stop_before_it_listens_leaves_nothing_behind(tmp_path: Path) -> None:
    """A worker is there already, but no handler of signals."""
    with edgeinfer(tmp_path, "--model", "edgeinfer-nano", "--port", "0") as process:
        daemon = psutil.Process(process.process.pid)
        assert eventually(lambda: children("worker", daemon.pid), 20)
        started = daemon.children()
        process.end()
    assert eventually(lambda: not [child for child in started if child.is_running()])


@pytest.mark.parametrize(
    ("option", "value"), [("--allowed-hosts", "http://board"), ("--cors-origins", "board")]
)
def test_settings_that_only_the_application_can_check_end_the_daemon_with_2(
    tmp_path: Path, option: str, value: str
) -> None:
    """What is wrong is said alone, and the model that has begun to load ends."""
    command = [sys.executable, "-m", "edgeinfer", "serve", "--port", "0", option, value]
    environ = {**environment(tmp_path), "EDGEINFER_TEST": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, env=environ, timeout=60, check=False)
    assert done.returncode == 2
    assert option.strip("-").replace("-", "_") in done.stderr
    assert "Traceback" not in done.stderr
    assert not [p for p in psutil.process_iter() if belongs_to(p, tmp_path)]


def belongs_to(process: psutil.Process, tmp_path: Path) -> bool:
    try:
        return process.environ().get("EDGEINFER_TEST") == str(tmp_path)
    except psutil.Error:
        return False


def test_the_daemon_never_loads_what_belongs_to_the_worker() -> None:
    """Not llama.cpp, whose crash must stay elsewhere, nor what costs memory and time at the start."""
    code = "import sys, edgeinfer.server.run, edgeinfer.server.build; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    heavy = {"llama_cpp", "numpy", "jinja2", "huggingface_hub", "llguidance", "typer"}
    assert heavy & set(loaded.stdout.split()) == set()


def test_during_a_drain_no_connection_is_accepted(tmp_path: Path) -> None:
    """Whoever comes now finds the next daemon, or none."""
    with edgeinfer(tmp_path, *SLOW, "20") as process:
        url, got, started = process.url(), list[str](), threading.Event()
        client = threading.Thread(target=stream, args=(url, 100, got, started))
        client.start()
        assert started.wait(20)
        process.process.send_signal(signal.SIGTERM)
        process.wait_for("STOPPING=1")
        assert eventually(lambda: not listens(url))
        assert process.process.wait(20) == 0
        client.join()
    assert "[DONE]" in "".join(got)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_whole_group_cuts_no_answer(tmp_path: Path, number: int) -> None:
    """Supervisors, containers and terminals send it to worker and helpers as well."""
    with edgeinfer(tmp_path, *SLOW, "20") as process:
        url, got, started = (
            process.url(),
            [list[str]() for _ in range(4)],
            [threading.Event() for _ in range(4)],
        )
        clients = [
            threading.Thread(target=stream, args=(url, 40, *each)) for each in zip(got, started, strict=True)
        ]
        for client in clients:
            client.start()
        assert all(event.wait(20) for event in started)
        assert process.end_group(number) == 0
        for client in clients:
            client.join()
    assert all("[DONE]" in "".join(texts) and "error" not in "".join(texts) for texts in got)
    assert not any("died" in line for line in process.lines)


def test_a_hangup_of_the_whole_group_reloads_and_cuts_no_answer(tmp_path: Path) -> None:
    with edgeinfer(tmp_path, *SLOW, "20") as process:
        url, got, started = process.url(), list[str](), threading.Event()
        client = threading.Thread(target=stream, args=(url, 100, got, started))
        client.start()
        assert started.wait(20)
        os.killpg(process.process.pid, signal.SIGHUP)
        client.join()
        assert "[DONE]" in "".join(got)
        assert not any("died" in line for line in process.lines)
        assert process.end() == 0


def test_the_daemon_survives_its_worker(tmp_path: Path) -> None:
    """The stream under way is told, the next one is served by a new worker."""
    with edgeinfer(tmp_path, *SLOW, "1") as process:
        url, got, started = process.url(), list[str](), threading.Event()
        client = threading.Thread(target=stream, args=(url, 100, got, started))
        client.start()
        assert started.wait(20)
        os.kill(httpx.get(f"{url}/status").json()["worker_pid"], signal.SIGKILL)
        client.join()
        assert "[DONE]" in "".join(got) or '"error"' in "".join(got)
        asked = {"prompt": "x", "max_tokens": 2}
        assert httpx.post(f"{url}/v1/completions", json=asked, timeout=30).status_code == 200
        assert httpx.get(f"{url}/status").json()["restarts"] == 1
        assert process.end() == 0
