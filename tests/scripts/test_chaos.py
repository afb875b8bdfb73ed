"""Workers, and in the end the daemon, are killed under many streams; see scripts/soak."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.support.paths import ROOT

SOAK = ROOT / "scripts" / "soak"


def soak(*arguments: str) -> str:
    """What it prints, once it has found nothing wrong."""
    done = subprocess.run(
        [sys.executable, str(SOAK), *arguments], capture_output=True, text=True, check=False
    )
    assert 0 == done.returncode, done.stdout + done.stderr
    assert "FAILED" not in done.stdout
    return done.stdout


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_streams_survive_their_workers_and_nothing_is_left_behind() -> None:
    """16 of them, while workers die every 3 seconds for 20, in every way there is; the daemon comes last.

    Each answer is complete and the undisturbed one. Memory, descriptors, threads and processes are as before. With
    the daemon every client is told, and no worker is left.
    """
    said = soak("--seconds", "20", "--streams", "16", "--kill-every", "3", "--kill-daemon")
    assert re.search(r"answers: .*\d+ equal; deaths: .*SIG", said)
    assert re.search(r"restarts [1-9]\d*, resumed [1-9]", said)
    assert "16 of 16 clients were told" in said


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_full_queue_leaves_nothing_behind() -> None:
    """Without a death, to have the same eyes on the ordinary."""
    said = soak("--seconds", "10", "--streams", "40", "--tokens", "60")
    assert "deaths: none" in said
    assert re.search(r"answers: .*\b[1-9]\d* equal;", said)
