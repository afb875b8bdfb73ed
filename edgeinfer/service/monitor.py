"""Keeps a daemon running where no service manager does: `python -m edgeinfer.service.monitor SPEC`.

To the daemon it is what systemd would be: it hears when the daemon is ready (sd_notify(3)), ends one that
hangs, starts it again after a crash, and writes its log.
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

from edgeinfer.service.file_transaction import replace
from edgeinfer.service.monitor_state import FINAL, SPENT, MonitorFolder, MonitorSpec, MonitorState, words
from edgeinfer.service.rotating_log import RotatingLog
from edgeinfer.settings import ENV_PREFIX

DELAYS = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
"""Seconds before the first, second, ... restart in a row."""

STEADY = 60.0
"""After so many seconds a crash is not one in a row."""

NOT_RUN = 127
"""A shell's exit status for a program that is not there."""

PR_SET_PDEATHSIG = 1


class MonitorTimeouts(msgspec.Struct, frozen=True):
    """Seconds.

    Attributes:
        start: to become ready, unless the daemon asks for more.
        stop: to end, likewise.
        watchdog: without a sign of life, after which a daemon hangs.
        last_words: to die of SIGABRT, which may leave a stack in the log.
    """

    start: float = 90.0
    stop: float = 45.0
    watchdog: float = 30.0
    last_words: float = 5.0


class ProcessMonitor:
    """One daemon's minder."""

    def __init__(self, spec: MonitorSpec, limits: MonitorTimeouts = MonitorTimeouts()) -> None:
        self._spec = spec
        self._folder = MonitorFolder(Path(spec.folder))
        self._log = RotatingLog(self._folder.log)
        self._limits = limits
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._signals, self._woken = socket.socketpair()
        for end in (self._signals, self._woken, self._notify):
            end.setblocking(False)
        self._daemon: subprocess.Popen[bytes] | None = None
        self._told = MonitorState("starting", os.getpid())
        self._deadline = math.inf
        self._stopping = False

    def run(self) -> None:
        """Returns when the daemon is to stay down: it was asked to, or another start would not help."""
        signal.set_wakeup_fd(self._woken.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, lambda *_: None)
        address = self._folder.path / "notify"
        address.unlink(missing_ok=True)
        self._notify.bind(str(address))
        streak = 0
        while not self._is_stopping():
            began = time.monotonic()
            status = self._run_once(str(address))
            if self._is_stopping() or status == 0:
                break
            if status in FINAL:
                self._tell("failed", words(status))
                return
            streak = 1 if time.monotonic() - began > STEADY else streak + 1
            self._pause(DELAYS[min(streak, len(DELAYS)) - 1], words(status))
        self._tell("stopped")

    def _run_once(self, address: str) -> int:
        """One daemon's whole life; -> its exit status, that of a signal negative."""
        self._deadline = time.monotonic() + self._limits.start
        try:
            self._daemon = daemon = self._spawn(address)
        except OSError as e:
            self._log.say(f"{self._spec.command[0]} cannot be run: {e.strerror}")
            return NOT_RUN
        self._tell("starting")
        assert daemon.stdout is not None
        os.set_blocking(daemon.stdout.fileno(), False)
        killed = False
        while daemon.poll() is None:
            self._wait(min(self._deadline - time.monotonic(), 60.0), daemon.stdout.fileno())
            if time.monotonic() > self._deadline:
                number = signal.SIGKILL if killed or self._stopping else signal.SIGABRT
                self._log.say(f"the daemon gave no sign of life and gets a {number.name}")
                self._send(number)
                killed, self._deadline = True, time.monotonic() + self._limits.last_words
        with contextlib.suppress(ProcessLookupError):  # the rest of it
            os.killpg(daemon.pid, signal.SIGKILL)
        while self._read(daemon.stdout.fileno()):
            pass
        self._log.end()
        daemon.stdout.close()
        with contextlib.suppress(BlockingIOError):  # what it said last is not the next one's word
            while True:
                self._notify.recv(4096)
        self._daemon = None
        self._log.say(f"the daemon ended: {words(daemon.returncode)}")
        return daemon.returncode

    def _spawn(self, address: str) -> subprocess.Popen[bytes]:
        inherited = {k: v for k, v in os.environ.items() if k not in SPENT and not k.startswith(ENV_PREFIX)}
        own = {
            "NOTIFY_SOCKET": address,
            "WATCHDOG_USEC": str(round(self._limits.watchdog * 1e6)),
            "PYTHONFAULTHANDLER": "1",  # a SIGABRT makes it say where it hung
        }
        return subprocess.Popen(
            self._spec.command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**inherited, **self._spec.environment, **own},
            start_new_session=True,
            preexec_fn=_die_with_minder if sys.platform == "linux" else None,
        )

    def _pause(self, seconds: float, why: str) -> None:
        self._told = msgspec.structs.replace(self._told, restarts=self._told.restarts + 1)
        self._tell("restarting", f"{why}; in {seconds:g} s another try")
        end = time.monotonic() + seconds
        while not self._stopping and (left := end - time.monotonic()) > 0:
            self._wait(left)

    def _wait(self, seconds: float, output: int | None = None) -> None:
        """Take what comes within `seconds`: output, a word from the daemon, a signal."""
        sources = [self._notify.fileno(), self._signals.fileno(), *([output] if output is not None else [])]
        ready, _, _ = select.select(sources, [], [], max(seconds, 0.0))
        if output in ready:
            assert output is not None
            if not self._read(output):
                time.sleep(0.05)  # closed before its end
        if self._notify.fileno() in ready:
            self._hear(self._notify.recv(4096).decode(errors="replace"))
        if self._signals.fileno() in ready:
            for number in self._signals.recv(4096):
                self._take(signal.Signals(number))

    def _read(self, output: int) -> bool:
        """Log what is there; False if that is nothing."""
        try:
            data = os.read(output, 1 << 16)
        except BlockingIOError:
            return False
        self._log.write(data)
        return bool(data)

    def _hear(self, said: str) -> None:
        """A datagram of sd_notify(3)."""
        now = time.monotonic()
        for line in said.splitlines():
            key, _, value = line.partition("=")
            if key == "READY" and self._told.state != "stopping":
                self._deadline = now + self._limits.watchdog
                self._tell("ready")
            elif key == "WATCHDOG" and self._told.state == "ready":
                self._deadline = now + self._limits.watchdog
            elif key == "STOPPING":
                self._deadline = now + self._limits.stop
                self._tell("stopping")
            elif key == "EXTEND_TIMEOUT_USEC" and value.isdigit() and self._told.state != "ready":
                self._deadline = max(self._deadline, now + int(value) / 1e6)

    def _take(self, number: signal.Signals) -> None:
        if number in (signal.SIGTERM, signal.SIGINT) and not self._stopping:
            self._stopping = True
            self._tell("stopping")
            self._deadline = time.monotonic() + self._limits.stop
            self._send(signal.SIGTERM)
        elif number == signal.SIGHUP:
            self._send(number)

    def _is_stopping(self) -> bool:
        return self._stopping

    def _send(self, number: signal.Signals) -> None:
        if self._daemon and self._daemon.poll() is None:
            self._daemon.send_signal(number)

    def _tell(self, state: str, detail: str | None = None) -> None:
        daemon = self._daemon.pid if self._daemon else None
        changed = {"state": state, "daemon": daemon, "detail": detail}
        self._told = msgspec.convert({**msgspec.structs.asdict(self._told), **changed}, MonitorState)
        with contextlib.suppress(OSError):
            replace(self._folder.state, msgspec.json.encode(self._told), 0o600)


def _die_with_minder() -> None:
    """In the child: a daemon without a minder would be in the next one's way."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def detach(log: Path) -> None:
    """Go on as nobody's child, in a session of its own, with the log for stdout and stderr."""
    if os.fork():
        os._exit(0)
    os.setsid()
    os.chdir("/")
    nothing = os.open(os.devnull, os.O_RDWR)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for descriptor, target in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(descriptor, target)


def main(arguments: list[str], limits: MonitorTimeouts = MonitorTimeouts()) -> int:
    """`[--detach] SPEC`."""
    spec = msgspec.json.decode(Path(arguments[-1]).read_bytes(), type=MonitorSpec)
    folder = MonitorFolder(Path(spec.folder))
    folder.make()
    if arguments[0] == "--detach":
        detach(folder.log)
    with folder.locked() as alone:
        if not alone:
            sys.stderr.write("edgeinfer: another minder is at it already\n")
            return 1
        ProcessMonitor(spec, limits).run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
