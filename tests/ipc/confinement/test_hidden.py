"""The daemon hides from other processes of its user."""

from __future__ import annotations

import subprocess
import sys

import pytest

from edgeinfer.ipc.confinement.system_call import IS_LINUX
from tests.support.users import needs_another_user

DAEMON = """
import os, sys
from edgeinfer.ipc.confinement.confinement import SET_DUMPABLE, hide_process
from edgeinfer.ipc.confinement.system_call import prctl
os.setgid(65534)
os.setuid(65534)
prctl(SET_DUMPABLE, 1)  # as after a start by this user
if sys.argv[1:] == ["hide"]:
    hide_process()
print("ready", flush=True)
input()
"""

SPY = """
import os, sys
os.setgid(65534)
os.setuid(65534)
for name in ("environ", "maps"):
    try:
        open(f"/proc/{sys.argv[1]}/{name}", "rb").read(1)
        print(name)
    except OSError:
        pass
"""


@pytest.mark.skipif(not IS_LINUX, reason="only Linux hides processes")
@needs_another_user
@pytest.mark.parametrize("hide", [True, False])
def test_another_process_of_the_user_reads_nothing(hide: bool) -> None:
    """Neither environment nor memory; of a process that does not hide it reads both."""
    command = [sys.executable, "-c", DAEMON, *(["hide"] if hide else [])]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as daemon:
        assert daemon.stdout is not None
        assert daemon.stdout.readline() == b"ready\n"
        spy = [sys.executable, "-c", SPY, str(daemon.pid)]
        done = subprocess.run(spy, capture_output=True, text=True, check=True)
        daemon.kill()
    assert done.stdout.split() == ([] if hide else ["environ", "maps"])
