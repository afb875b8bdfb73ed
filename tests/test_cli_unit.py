from __future__ import annotations

import shutil
import subprocess
import sys
from configparser import RawConfigParser
from pathlib import Path

import pytest
from cli_support import ROOT

from edgeinfer.settings import Settings

UNIT = ROOT / "systemd" / "edgeinfer.service"


def section(name: str) -> dict[str, str]:
    unit = RawConfigParser(strict=True)
    unit.optionxform = str  # type: ignore[assignment, method-assign]  # keys keep their case
    unit.read(UNIT)
    return dict(unit[name])


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd here")
def test_systemd_takes_the_unit_without_a_word(tmp_path: Path) -> None:
    """Unknown keys, bad values, a program that is not there: all are told on stderr."""
    unit = tmp_path / UNIT.name
    unit.write_text(
        UNIT.read_text().replace("ExecStart=/usr/local/bin/edgeinfer", f"ExecStart={sys.executable}")
    )
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_running_answers_get_their_time_before_systemd_kills() -> None:
    """TimeoutStopSec covers drain_timeout, and systemd's SIGTERM spares the worker."""
    service = section("Service")
    assert int(service["TimeoutStopSec"]) >= Settings().drain_timeout + 10
    assert service["KillMode"] == "mixed"


def test_systemd_lets_a_model_load_as_long_as_the_daemon_does() -> None:
    """load_timeout is the daemon's to keep."""
    assert section("Service")["TimeoutStartSec"] == "infinity"


def test_a_worker_that_runs_out_of_memory_does_not_end_the_service() -> None:
    """systemd's default stops all of a service of which the kernel killed a part."""
    assert section("Service")["OOMPolicy"] == "continue"
