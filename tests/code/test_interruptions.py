"""Ctrl-C at any moment leaves whole files, no process and a change that can be taken back."""

from __future__ import annotations

import contextlib
import itertools
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Any

import psutil
import pytest

from edgeinfer.code import command_run
from edgeinfer.code.command_run import run_command
from edgeinfer.code.sandbox import Sandbox
from tests.support.cli import EDGEINFER, environment, run
from tests.support.coder import coding, whole
from tests.support.project import inside, project
from tests.support.server import eventually

WRONG, RIGHT = "def total(prices):\n    return -sum(prices)\n", "def total(prices):\n    return sum(prices)\n"
MARK = "sleep 0.3197"


@pytest.mark.slow
@pytest.mark.parametrize("moment", [0.8, 1.2, 1.5, 1.8, 2.1, 2.5, 3.0])
def test_ctrl_c_at_any_moment(moment: float, tmp_path: Path) -> None:
    """Whichever moment of its work this machine makes of it."""
    root = project(tmp_path / "shop", {"cart.py": WRONG})
    command = f"{MARK}; grep -q 'return sum' cart.py"
    with coding(whole(cart_py=RIGHT)) as (coder, env):
        process = subprocess.Popen(
            [*EDGEINFER, "code", "fix", "--yes", "--run", command, "cart.py"],
            cwd=root,
            env=environment(tmp_path, **env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        try:
            time.sleep(moment)
            process.send_signal(2)
            _, error = process.communicate(timeout=30)
        finally:
            process.kill()
            process.wait()
        assert process.returncode in (0, 130, -2), error  # done already, stopped, or not even begun
        assert b"Traceback" not in error or process.returncode == -2
        assert eventually(lambda: coder.running == 0, 20)
    content = (root / "cart.py").read_text()
    assert content in (WRONG, RIGHT)
    assert sorted(path.name for path in root.iterdir()) == [".git", "cart.py"]
    assert [] == [p.pid for p in psutil.process_iter() if _belongs(p)]
    with inside(root):
        undone = run(tmp_path, "code", "undo")
    assert undone.returncode == (0 if content == RIGHT else 1)
    assert (root / "cart.py").read_text() == WRONG


class Interruption:
    """A Ctrl-C at a certain line, counted as they are executed, of what runs a command."""

    def __init__(self, line: int) -> None:
        self._left = line

    def __call__(self, frame: FrameType, event: str, _: Any) -> Interruption | None:
        if frame.f_code not in (command_run._run.__code__, command_run._is_readable.__code__):
            return None
        if event == "line":
            self._left -= 1
            if not self._left:
                raise KeyboardInterrupt
        return self


# Pipes of an interrupted start are closed by the collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_ctrl_c_at_any_line_leaves_neither_a_thread_nor_a_process(tmp_path: Path) -> None:
    """A thread would keep the interpreter from ending, and nobody would end the process."""
    root = project(tmp_path / "shop", {"cart.py": WRONG})
    before = threading.active_count()
    for line in itertools.count(1):
        tracer = sys.gettrace()
        sys.settrace(Interruption(line))
        done = False
        with contextlib.suppress(KeyboardInterrupt):
            try:
                run_command(f"echo; {MARK}", Sandbox("none", str(root)), lambda _: None)
                done = True
            finally:
                sys.settrace(tracer)
        assert threading.active_count() == before, line
        assert eventually(lambda: not any(map(_belongs, psutil.process_iter())), 20), line
        if done:
            break
    assert line > 20


def _belongs(process: psutil.Process) -> bool:
    try:
        return MARK in " ".join(process.cmdline()) and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
