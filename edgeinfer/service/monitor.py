"""Keeps a daemon running where no service manager does: `python -m edgeinfer.service.monitor SPEC`.

To the daemon it is what systemd would be: it listens for readiness (sd_notify(3)), kills a daemon that hangs,
restarts it after a crash, and writes its log.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import msgspec

from edgeinfer.service.file_transaction import write_atomically
from edgeinfer.service.monitor_state import (
    FINAL_STATUSES,
    FOREIGN_VARIABLES,
    MonitorFolder,
    MonitorSpec,
    MonitorState,
    Phase,
    exit_status_text,
)
from edgeinfer.service.rotating_log import RotatingLog
from edgeinfer.settings import ENV_PREFIX

DELAYS = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
"""Seconds before the first, second, ... consecutive restart."""

STABLE_AFTER = 60.0
"""Seconds after which a crash starts a new series."""

NOT_RUN = 127
"""A shell's exit status for a program that does not exist."""

PR_SET_PDEATHSIG = 1


class MonitorTimeouts(msgspec.Struct, frozen=True):
    """Time limits in seconds.

    Attributes:
        start: for the daemon to become ready, unless it asks for more.
        stop: for the daemon to end, unless it asks for more.
        watchdog: without a sign of life, after which the daemon counts as hanging.
        abort: for the daemon to end after SIGABRT, which leaves a stack trace in the log.
    """

    start: float = 90.0
    stop: float = 45.0
    watchdog: float = 30.0
    abort: float = 5.0


class ProcessMonitor:
    """Runs and watches one daemon."""

    def __init__(self, spec: MonitorSpec, timeouts: MonitorTimeouts = MonitorTimeouts()) -> None:
        self._spec = spec
        self._folder = MonitorFolder(Path(spec.folder))
        self._log = RotatingLog(self._folder.log)
        self._timeouts = timeouts
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._signals, self._woken = socket.socketpair()
        for end in (self._signals, self._woken, self._notify):
            end.setblocking(False)
        self._daemon: subprocess.Popen[bytes] | None = None
        self._state = MonitorState("starting", os.getpid())
        self._deadline = math.inf
        self._stopping = False

    def run(self) -> None:
        """Run until the daemon is to stay down: it was asked to stop, or another start would fail again."""
        signal.set_wakeup_fd(self._woken.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, lambda *_: None)
        address = self._folder.path / "notify"
        address.unlink(missing_ok=True)
        self._notify.bind(str(address))
        restarts = 0
        while not self._is_stopping():
            started = time.monotonic()
            status = self._run_once(str(address))
            if self._is_stopping() or status == 0:
                break
            if status in FINAL_STATUSES:
                self._set_state("failed", exit_status_text(status))
                return
            restarts = 1 if time.monotonic() - started > STABLE_AFTER else restarts + 1
            self._pause(DELAYS[min(restarts, len(DELAYS)) - 1], exit_status_text(status))
        self._set_state("stopped")

    def _run_once(self, address: str) -> int:
        """Run the daemon to its end, and return its exit status; that of a signal is negative."""
        self._deadline = time.monotonic() + self._timeouts.start
        try:
            self._daemon = daemon = self._spawn(address)
        except OSError as e:
            self._log.note(f"cannot run {self._spec.command[0]}: {e.strerror}")
            return NOT_RUN
        self._set_state("starting")
        assert daemon.stdout is not None
        os.set_blocking(daemon.stdout.fileno(), False)
        killed = False
        while daemon.poll() is None:
            self._wait(min(self._deadline - time.monotonic(), 60.0), daemon.stdout.fileno())
            if time.monotonic() > self._deadline:
                number = signal.SIGKILL if killed or self._stopping else signal.SIGABRT
                self._log.note(f"the daemon does not respond; sending {number.name}")
                self._send(number)
                killed, self._deadline = True, time.monotonic() + self._timeouts.abort
        with contextlib.suppress(ProcessLookupError):  # remaining processes of its group
            os.killpg(daemon.pid, signal.SIGKILL)
        while self._read(daemon.stdout.fileno()):
            pass
        self._log.end()
        daemon.stdout.close()
        with contextlib.suppress(BlockingIOError):  # its last messages are not about the next daemon
            while True:
                self._notify.recv(4096)
        self._daemon = None
        self._log.note(f"the daemon ended: {exit_status_text(daemon.returncode)}")
        return daemon.returncode

    def _spawn(self, address: str) -> subprocess.Popen[bytes]:
        inherited = {
            k: v for k, v in os.environ.items() if k not in FOREIGN_VARIABLES and not k.startswith(ENV_PREFIX)
        }
        own = {
            "NOTIFY_SOCKET": address,
            "WATCHDOG_USEC": str(round(self._timeouts.watchdog * 1e6)),
            "PYTHONFAULTHANDLER": "1",  # SIGABRT prints where it hangs
        }
        return subprocess.Popen(
            self._spec.command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**inherited, **self._spec.environment, **own},
            start_new_session=True,
            preexec_fn=_die_with_monitor if sys.platform == "linux" else None,
        )

    def _pause(self, seconds: float, why: str) -> None:
        self._state = msgspec.structs.replace(self._state, restarts=self._state.restarts + 1)
        self._set_state("restarting", f"{why}; restarting in {seconds:g} s")
        end = time.monotonic() + seconds
        while not self._stopping and (left := end - time.monotonic()) > 0:
            self._wait(left)

    def _wait(self, seconds: float, output: int | None = None) -> None:
        """Handle what arrives within `seconds`: output, messages from the daemon, signals."""
        sources = [self._notify.fileno(), self._signals.fileno(), *([output] if output is not None else [])]
        ready, _, _ = select.select(sources, [], [], max(seconds, 0.0))
        if output in ready:
            assert output is not None
            if not self._read(output):
                time.sleep(0.05)  # it has closed its output
        if self._notify.fileno() in ready:
            self._on_notify(self._notify.recv(4096).decode(errors="replace"))
        if self._signals.fileno() in ready:
            for number in self._signals.recv(4096):
                self._on_signal(signal.Signals(number))

    def _read(self, output: int) -> bool:
        """Log the available output; False if there is none."""
        try:
            data = os.read(output, 1 << 16)
        except BlockingIOError:
            return False
        self._log.write(data)
        return bool(data)

    def _on_notify(self, message: str) -> None:
        """Handle a datagram of sd_notify(3)."""
        now = time.monotonic()
        for line in message.splitlines():
            key, _, value = line.partition("=")
            if key == "READY" and self._state.state != "stopping":
                self._deadline = now + self._timeouts.watchdog
                self._set_state("ready")
            elif key == "WATCHDOG" and self._state.state == "ready":
                self._deadline = now + self._timeouts.watchdog
            elif key == "STOPPING":
                self._deadline = now + self._timeouts.stop
                self._set_state("stopping")
            elif key == "EXTEND_TIMEOUT_USEC" and value.isdigit() and self._state.state != "ready":
                self._deadline = max(self._deadline, now + int(value) / 1e6)

    def _on_signal(self, number: signal.Signals) -> None:
        if number in (signal.SIGTERM, signal.SIGINT) and not self._stopping:
            self._stopping = True
            self._set_state("stopping")
            self._deadline = time.monotonic() + self._timeouts.stop
            self._send(signal.SIGTERM)
        elif number == signal.SIGHUP:
            self._send(number)

    def _is_stopping(self) -> bool:
        return self._stopping

    def _send(self, number: signal.Signals) -> None:
        if self._daemon and self._daemon.poll() is None:
            self._daemon.send_signal(number)

    def _set_state(self, phase: Phase, detail: str | None = None) -> None:
        daemon = self._daemon.pid if self._daemon else None
        self._state = msgspec.structs.replace(self._state, state=phase, daemon=daemon, detail=detail)
        with contextlib.suppress(OSError):
            write_atomically(self._folder.state, msgspec.json.encode(self._state), 0o600)


def _die_with_monitor() -> None:
    """Have the kernel end the daemon if the monitor dies, since it would block the next daemon. Runs in the child."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def detach(log: Path) -> None:
    """Continue in the background, in a session of its own, with stdout and stderr going to the log."""
    if os.fork():
        os._exit(0)
    os.setsid()
    os.chdir("/")
    null = os.open(os.devnull, os.O_RDWR)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for descriptor, target in ((null, 0), (output, 1), (output, 2)):
        os.dup2(descriptor, target)


def main(arguments: list[str], timeouts: MonitorTimeouts = MonitorTimeouts()) -> int:
    """Run a monitor; the arguments are `[--detach] SPEC`."""
    spec = msgspec.json.decode(Path(arguments[-1]).read_bytes(), type=MonitorSpec)
    folder = MonitorFolder(Path(spec.folder))
    folder.make()
    if arguments[0] == "--detach":
        detach(folder.log)
    with folder.locked() as held:
        if not held:
            sys.stderr.write("edgeinfer: another process monitor is already running\n")
            return 1
        ProcessMonitor(spec, timeouts).run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
