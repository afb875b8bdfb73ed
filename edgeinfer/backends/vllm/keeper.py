"""Runs a command in a session of its own, and ends all of it with our end of a pipe, however the daemon ends.

vLLM has several processes, and would outlive a daemon that is killed. Started as a script, with nothing but the
standard library: `keeper.py DESCRIPTOR COMMAND ARGUMENTS...`
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading


def main() -> int:
    descriptor, command = int(sys.argv[1]), sys.argv[2:]
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # a terminal's; the daemon decides
    child = subprocess.Popen(command, start_new_session=True, stdin=subprocess.DEVNULL)
    signal.signal(signal.SIGTERM, lambda *_: _signal(child.pid, signal.SIGTERM))
    threading.Thread(target=_kill_at_end, args=(descriptor, child.pid), daemon=True).start()
    status = child.wait()
    _signal(child.pid, signal.SIGKILL)  # what is left of its session
    if status < 0:
        with contextlib.suppress(OSError):  # SIGKILL has no handler
            signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    return status


def _kill_at_end(descriptor: int, group: int) -> None:
    while os.read(descriptor, 1):
        pass
    _signal(group, signal.SIGKILL)


def _signal(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, number)


if __name__ == "__main__":
    sys.exit(main())
