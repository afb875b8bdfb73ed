"""The service where there is no service manager, for real: a process monitor and its daemon."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edgeinfer.errors import ServiceFailed
from edgeinfer.service.builtin import BuiltinManager
from edgeinfer.service.install import install, propose, uninstall
from edgeinfer.service.monitor_state import MonitorFolder
from edgeinfer.service.rotating_log import RotatingLog
from edgeinfer.service.spec import this_program
from tests.support.service import service, stub

SPEAKS = """
import os, signal, socket, sys, time
manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
manager.connect(os.environ["NOTIFY_SOCKET"])
"""
READY = SPEAKS + 'manager.send(b"READY=1")\n'
ALIVE = READY + 'while True:\n    manager.send(b"WATCHDOG=1")\n    time.sleep(0.1)\n'


def eventually(question: Callable[[], object], seconds: float = 30.0) -> bool:
    deadline = time.monotonic() + seconds
    while not question():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def is_alive(pid: int) -> bool:
    """Tell whether a process is running; a zombie is not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[BuiltinManager]:
    """The manager of a user who has no service yet."""
    environ = {name: os.environ[name] for name in ("PATH",)}
    manager = BuiltinManager("user", {**environ, "HOME": str(tmp_path), "EDGEINFER_PORT": "1"})
    yield manager
    manager.stop()


def log(manager: BuiltinManager) -> str:
    return manager.folder.log.read_text()


def test_a_service_is_started_and_stopped(manager: BuiltinManager, tmp_path: Path) -> None:
    """It outlives the command that started it, and its log has the time."""
    assert manager.status().installed is False
    spec = service(scope="user", program=stub(tmp_path, 'print("hello", flush=True)' + ALIVE))
    install(manager, spec)
    status = manager.status()
    assert (status.installed, status.state, status.restarts) == (True, "running", 0)
    assert status.pid
    assert os.getsid(status.pid) != os.getsid(0)
    assert re.search(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4} hello$", log(manager), re.MULTILINE)
    manager.start()  # it runs already
    assert manager.status().pid == status.pid
    manager.restart()
    assert manager.status().pid not in (None, status.pid)
    manager.stop()
    assert manager.status().state == "stopped"
    assert not is_alive(status.pid)
    assert manager.status().pid is None


def test_what_is_proposed_is_what_is_done(manager: BuiltinManager, tmp_path: Path) -> None:
    """The proposal has every file and the command; a second time no file is new."""
    spec = service(scope="user", program=stub(tmp_path, ALIVE), config=tmp_path / "c.toml")
    proposal = propose(manager, spec)
    command = tmp_path / ".local/bin/edgeinfer"
    assert proposal.changed == [str(manager.spec), str(command)]
    assert proposal.commands == [
        [sys.executable, "-m", "edgeinfer.service.monitor", "--detach", str(manager.spec)]
    ]
    assert not manager.spec.exists()
    install(manager, spec)
    assert json.loads(manager.spec.read_text()) == {
        "command": [str(tmp_path / "edgeinfer"), "serve"],
        "folder": str(tmp_path / ".local/state/edgeinfer"),
        "environment": {"EDGEINFER_CONFIG": str(tmp_path / "c.toml")},
    }
    assert propose(manager, spec).changed == []
    assert uninstall(manager) == [str(manager.spec), str(command)]
    assert manager.status().state == "stopped"
    assert uninstall(manager) == []


def test_a_service_that_does_not_start_says_why_and_leaves_what_was_there(
    manager: BuiltinManager, tmp_path: Path
) -> None:
    """The old service is restored, and runs again."""
    (tmp_path / "old").mkdir()
    (tmp_path / "new").mkdir()
    old = service(scope="user", program=stub(tmp_path / "old", ALIVE))
    install(manager, old)
    before = manager.spec.read_text()
    broken = service(scope="user", program=stub(tmp_path / "new", 'print("no such model")\nexit(3)\n'))
    with pytest.raises(ServiceFailed, match="missing or cannot be loaded") as e:
        install(manager, broken)
    assert "no such model" in str(e.value)
    assert manager.spec.read_text() == before
    assert manager.status().state == "running"


def test_the_first_installation_leaves_nothing_if_it_fails(manager: BuiltinManager, tmp_path: Path) -> None:
    """Not even a stopped service is left."""
    with pytest.raises(ServiceFailed):
        install(manager, service(scope="user", program=stub(tmp_path, "exit(2)\n")))
    assert manager.status().installed is False
    assert not manager.spec.exists()
    with pytest.raises(ServiceFailed, match="not installed"):
        manager.start()


def test_a_program_that_is_gone_is_told(manager: BuiltinManager, tmp_path: Path) -> None:
    """An environment may have been moved; the program may come back with its disk."""
    program = stub(tmp_path, ALIVE)
    program.executable.unlink()
    with pytest.raises(ServiceFailed, match=r"cannot run .*: No such file"):
        install(manager, service(scope="user", program=program))


@pytest.mark.parametrize(("status", "words"), [(2, "settings"), (3, "model")])
def test_what_another_start_would_not_help_is_not_started_again(
    manager: BuiltinManager, tmp_path: Path, status: int, words: str
) -> None:
    """The exit statuses are those of systemd's unit."""
    program = stub(tmp_path, f"{READY}time.sleep(0.3)\nexit({status})\n")
    install(manager, service(scope="user", program=program))
    assert eventually(lambda: manager.status().state == "failed")
    assert words in str(manager.status().detail)
    assert not manager.folder.is_monitored()


def test_a_daemon_that_dies_is_started_again(manager: BuiltinManager, tmp_path: Path) -> None:
    """The log has the reason."""
    install(manager, service(scope="user", program=stub(tmp_path, ALIVE)))
    pid = manager.status().pid
    assert pid
    os.kill(pid, signal.SIGKILL)
    assert eventually(lambda: manager.status().restarts == 1 and manager.status().state == "running")
    assert manager.status().pid != pid
    assert "the daemon ended: SIGKILL" in log(manager)


def test_what_a_dead_daemon_left_running_goes_too(manager: BuiltinManager, tmp_path: Path) -> None:
    """A worker would hold memory that the next one needs."""
    script = (
        READY.replace("import os", "import subprocess, os")
        + 'print(subprocess.Popen(["sleep", "1000"]).pid, flush=True)\ntime.sleep(1000)\n'
    )
    install(manager, service(scope="user", program=stub(tmp_path, script)))
    assert eventually(lambda: re.search(r" \d+$", log(manager), re.MULTILINE))
    child = int(log(manager).split()[-1])
    pid = manager.status().pid
    assert pid
    os.kill(pid, signal.SIGKILL)
    assert eventually(lambda: not is_alive(child))


def test_a_stop_while_it_waits_for_another_try_is_quick(manager: BuiltinManager, tmp_path: Path) -> None:
    """No further daemon is started."""
    install(manager, service(scope="user", program=stub(tmp_path, f"{READY}time.sleep(0.2)\nexit(1)\n")))
    assert eventually(lambda: manager.folder.read() and manager.folder.read().state == "restarting")  # type: ignore[union-attr]
    manager.stop()
    assert manager.status().state == "stopped"


def test_a_daemon_does_not_outlive_its_monitor(manager: BuiltinManager, tmp_path: Path) -> None:
    """It would hold the port that the next daemon needs."""
    install(manager, service(scope="user", program=stub(tmp_path, ALIVE)))
    state = manager.folder.read()
    assert state
    assert state.daemon
    daemon = state.daemon
    os.kill(state.monitor, signal.SIGKILL)
    assert eventually(lambda: not is_alive(daemon))
    assert manager.status().state == "stopped"
    manager.start()
    assert manager.status().state == "running"


def test_only_one_monitor_runs(manager: BuiltinManager, tmp_path: Path) -> None:
    """A second monitor gives up."""
    install(manager, service(scope="user", program=stub(tmp_path, ALIVE)))
    command = [sys.executable, "-m", "edgeinfer.service.monitor", str(manager.spec)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "edgeinfer: another process monitor is already running\n")
    assert manager.status().state == "running"


def test_a_service_installed_under_the_monitors_earlier_name_goes_on(
    manager: BuiltinManager, tmp_path: Path
) -> None:
    """launchd starts the module that its property list names, and an upgrade stops the monitor that it replaces."""
    install(manager, service(scope="user", program=stub(tmp_path, ALIVE)))
    manager.stop()
    subprocess.run(
        [sys.executable, "-m", "edgeinfer.service.minder", "--detach", str(manager.spec)], check=True
    )
    assert eventually(lambda: manager.status().state == "running")
    monitor = manager.folder.read()
    assert monitor
    assert {"minder": monitor.monitor}.items() <= json.loads(manager.folder.state.read_text()).items()
    install(manager, service(scope="user", program=stub(tmp_path, ALIVE)))
    assert not is_alive(monitor.monitor)
    assert manager.status().state == "running"


def test_the_shell_it_was_started_from_does_not_decide(manager: BuiltinManager, tmp_path: Path) -> None:
    """Its variables would be gone after a reboot."""
    script = 'import os\nprint("PORT", os.environ.get("EDGEINFER_PORT"), flush=True)\n' + ALIVE
    install(manager, service(scope="user", program=stub(tmp_path, script)))
    assert "PORT None" in log(manager)


def test_a_reload_reaches_the_daemon(manager: BuiltinManager, tmp_path: Path) -> None:
    """It is a SIGHUP, as with systemd."""
    script = ALIVE.replace(
        "manager.send", 'signal.signal(signal.SIGHUP, lambda *_: print("again", flush=True))\nmanager.send', 1
    )
    with pytest.raises(ServiceFailed, match="not running"):
        manager.reload()
    install(manager, service(scope="user", program=stub(tmp_path, script)))
    manager.reload()
    assert eventually(lambda: "again" in log(manager))


def test_nothing_promises_to_come_back_after_a_reboot(manager: BuiltinManager, tmp_path: Path) -> None:
    """A note says how to start it after a reboot."""
    spec = service(scope="user", program=stub(tmp_path, ALIVE))
    assert "@reboot" in propose(manager, spec).notes[0]
    assert manager.status().enabled is None
    with pytest.raises(ServiceFailed):
        manager.enable(True)
    with pytest.raises(ServiceFailed, match="on demand"):
        propose(manager, service(scope="user", program=stub(tmp_path, ALIVE), on_demand=True))


MONITOR = """
import sys
from edgeinfer.service.monitor import MonitorTimeouts, main
sys.exit(main(sys.argv[1:], MonitorTimeouts(1.0, 1.0, 1.0, 1.0)))
"""


class Impatient:
    """A monitor in the foreground, with time limits of a second."""

    def __init__(self, folder: Path, script: str) -> None:
        self.folder = MonitorFolder(folder / "state")
        spec = folder / "spec.json"
        program = stub(folder, script)
        spec.write_text(json.dumps({"command": [str(program.executable)], "folder": str(self.folder.path)}))
        self.process = subprocess.Popen([sys.executable, "-c", MONITOR, str(spec)])

    def log(self) -> str:
        return self.folder.log.read_text() if self.folder.log.exists() else ""

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(30)


@pytest.fixture
def impatient(tmp_path: Path) -> Iterator[Callable[[str], Impatient]]:
    monitors: list[Impatient] = []

    def start(script: str) -> Impatient:
        monitors.append(Impatient(tmp_path, script))
        return monitors[-1]

    yield start
    for monitor in monitors:
        monitor.stop()


def test_a_daemon_that_hangs_is_ended_and_started_again(impatient: Callable[[str], Impatient]) -> None:
    """It was ready and then stopped responding; its stack trace tells where."""
    monitor = impatient(READY + "time.sleep(1000)\n")
    assert eventually(lambda: "SIGABRT" in monitor.log() and monitor.log().count("the daemon ended") > 1)
    assert "Fatal Python error: Aborted" in monitor.log()


def test_one_that_does_not_die_of_it_is_killed(impatient: Callable[[str], Impatient]) -> None:
    """It may ignore signals."""
    script = READY.replace("manager =", "signal.signal(signal.SIGABRT, signal.SIG_IGN)\nmanager =", 1)
    monitor = impatient(script + "time.sleep(1000)\n")
    assert eventually(lambda: "the daemon ended: SIGKILL" in monitor.log())


def test_a_start_may_take_long_while_the_daemon_asks_for_time(impatient: Callable[[str], Impatient]) -> None:
    """It asks for time while its model loads. A silent daemon counts as hung."""
    asks = "for _ in range(15):\n    manager.send(b'EXTEND_TIMEOUT_USEC=1000000')\n    time.sleep(0.2)\n"
    monitor = impatient(SPEAKS + asks + ALIVE)
    assert eventually(lambda: (state := monitor.folder.read()) and state.state == "ready")
    assert "SIGABRT" not in monitor.log()
    monitor.stop()
    mute = impatient(SPEAKS + "time.sleep(1000)\n")
    assert eventually(lambda: "sending SIGABRT" in mute.log())


def test_a_stop_that_takes_too_long_is_ended(impatient: Callable[[str], Impatient]) -> None:
    """SIGKILL follows after the time that the daemon asked for."""
    monitor = impatient(
        ALIVE.replace("manager =", "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nmanager =", 1)
    )
    assert eventually(lambda: (state := monitor.folder.read()) and state.state == "ready")
    monitor.stop()
    assert "the daemon ended: SIGKILL" in monitor.log()


def test_a_log_begins_anew_when_it_is_full(tmp_path: Path) -> None:
    """The previous file is kept; lines stay whole, even if they arrive in pieces."""
    log = RotatingLog(tmp_path / "log", max_bytes=300)
    for number in range(20):
        log.write(f"line {number} and".encode())
        log.write(b" its end\n")
    log.write(b"unfinished")
    log.note("done")
    log.close()
    files = [tmp_path / "log.1", tmp_path / "log"]
    assert sorted(tmp_path.iterdir()) == sorted(files)
    lines = "".join(file.read_text() for file in files).splitlines()
    assert lines[-2:] == [lines[-2][:25] + "unfinished", lines[-1][:25] + "edgeinfer: done"]
    assert all(re.fullmatch(r".{24} line \d+ and its end", line) for line in lines[:-2])
    assert all(file.stat().st_size < 400 for file in files)


def test_a_line_without_end_is_cut(tmp_path: Path) -> None:
    """The buffer is limited."""
    log = RotatingLog(tmp_path / "log")
    log.write(b"x" * 200_000)
    log.end()
    log.close()
    assert (tmp_path / "log").stat().st_size >= 200_000


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@pytest.mark.slow
def test_the_real_daemon_is_monitored(manager: BuiltinManager, tmp_path: Path) -> None:
    """It answers after the installation, and comes back with a new worker after it was killed."""
    import httpx

    port = free_port()
    config = tmp_path / "config.toml"
    config.write_text(f'model = "fake"\nport = {port}\nstore = "{tmp_path}/store"\n')
    install(manager, service(scope="user", program=this_program(), config=config))
    url = f"http://127.0.0.1:{port}"
    assert httpx.get(f"{url}/ready").status_code == 200
    worker = httpx.get(f"{url}/status").json()["worker_pid"]
    pid = manager.status().pid
    assert pid
    os.kill(pid, signal.SIGKILL)
    assert eventually(lambda: manager.status().restarts == 1 and manager.status().state == "running", 60)
    assert httpx.post(f"{url}/v1/completions", json={"prompt": "x", "max_tokens": 2}).status_code == 200
    assert not is_alive(worker)
    manager.stop()
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/ready")
    assert not is_alive(pid)
