"""The process that keeps a node's Ray running; a shell stands in for Ray."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import psutil

from tests.support.cluster import until

STARTS = "echo 'Ray runtime started'; echo started >>{starts}; "


def keeper(folder: Path, script: str) -> subprocess.Popen[bytes]:
    command = ["sh", "-c", script.format(starts=folder / "starts")]
    return subprocess.Popen([sys.executable, "-m", "edgeinfer.cluster.keeper", folder / "log", *command])


def starts(folder: Path) -> int:
    file = folder / "starts"
    return len(file.read_text().splitlines()) if file.exists() else 0


def test_ray_that_ends_by_itself_is_started_again_until_the_keeper_is_told_to_stop(tmp_path: Path) -> None:
    with keeper(tmp_path, STARTS + "[ $(wc -l <{starts}) = 1 ] || exec sleep 100") as process:
        until(lambda: starts(tmp_path) == 2)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


def test_ray_that_does_not_start_the_first_time_is_not_started_again(tmp_path: Path) -> None:
    """Its options are wrong, or nobody is where the head should be: the command says so."""
    with keeper(tmp_path, "echo no head there; exit 5") as process:
        assert process.wait(30) == 5
    assert (tmp_path / "log").read_text() == "no head there\n"


def test_no_node_outlives_its_keeper(tmp_path: Path) -> None:
    """Nobody would find it any more."""
    with keeper(tmp_path, STARTS + "exec sleep 100") as process:
        until(lambda: starts(tmp_path) == 1)
        (child,) = psutil.Process(process.pid).children()
        process.kill()
    child.wait(30)
