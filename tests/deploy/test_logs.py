"""The file for logrotate, used by the real one on the log of a running daemon."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import httpx
import pytest

from tests.support.debian_programs import find_program, libraries
from tests.support.nano_daemon import NanoDaemon
from tests.support.paths import ROOT
from tests.support.server import eventually

pytestmark = pytest.mark.slow


def test_a_daemons_log_is_rotated_while_it_writes(tmp_path: Path) -> None:
    """Nothing of it is lost, and each line stays an object."""
    daemon = NanoDaemon(tmp_path / "home", EDGEINFER_MODEL="fake", EDGEINFER_LOG_FORMAT="json")
    config = tmp_path / "edgeinfer.conf"
    text = (ROOT / "deploy/logrotate/edgeinfer").read_text()
    assert "/var/log/edgeinfer/edgeinfer.log" in text
    config.write_text(text.replace("/var/log/edgeinfer/edgeinfer.log", str(daemon.log)))
    config.chmod(0o644)
    rotate = [str(find_program("logrotate")), "--force", "--state", str(tmp_path / "state"), str(config)]
    try:
        daemon.start()
        for path in ("/v1/before", "/v1/after"):
            httpx.get(f"{daemon.url}{path}")
            assert eventually(lambda path=path: path in daemon.log.read_text())  # type: ignore[misc]
            if path == "/v1/before":
                done = subprocess.run(
                    rotate, env=libraries("logrotate"), capture_output=True, text=True, check=False
                )
                assert (done.returncode, done.stderr) == (0, "")
        old = daemon.log.with_name("log.1").read_text()
        new = daemon.log.read_text()
    finally:
        daemon.kill()
    assert "/v1/before" in old
    assert "/v1/after" not in old
    paths = [json.loads(line).get("path") for line in new.splitlines()]
    assert "/v1/after" in paths
    assert "\0" not in new, "it appends, and leaves no hole"
