"""`edgeinfer doctor` under a really booted systemd."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("no systemd but on Linux", allow_module_level=True)
if os.geteuid() != 0:
    pytest.skip("only root can boot a box", allow_module_level=True)

from tests.support.systemd_box import Box

pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(600)]

DROP_IN = "/etc/systemd/system/edgeinfer.service.d/10-edgeinfer.conf"


@pytest.fixture(scope="module")
def box() -> Iterator[Box]:
    """A machine with edgeinfer as a service."""
    box = Box()
    try:
        box.start()
        box.edgeinfer("service", "install")
        yield box
    finally:
        box.close()


def examined(box: Box) -> dict[str, list[tuple[str, str]]]:
    """Levels and texts by check."""
    done = box.attempt(str(Path(sys.prefix, "bin/edgeinfer")), "doctor", "--json", "--fast")
    findings: dict[str, list[tuple[str, str]]] = {}
    for finding in json.loads(done.stdout):
        findings.setdefault(finding["check"], []).append((finding["level"], finding["text"]))
    assert done.returncode == any(level == "error" for check in findings.values() for level, _ in check)
    return findings


def test_a_service_as_it_was_installed(box: Box) -> None:
    """Nothing is said against it."""
    findings = examined(box)
    [(level, text)] = findings["service"]
    assert (level, text) == ("ok", f"running (systemd, system), pid {box.show('MainPID')}")
    assert [findings[name][0][0] for name in ("permissions", "port", "daemon", "self-test")] == ["ok"] * 4


def test_files_of_the_service_that_were_changed(box: Box) -> None:
    """The one that was is named."""
    before = box.run("cat", DROP_IN)
    box.write(DROP_IN, before.replace("[Service]", "[Service]\nNice=5"))
    assert examined(box)["service"] == [
        ("warning", f"files differ from those that would be installed now: {DROP_IN}")
    ]
    box.write(DROP_IN, before)


def test_a_service_that_is_stopped(box: Box) -> None:
    """It should run, as it is enabled."""
    box.run("systemctl", "stop", "edgeinfer")
    findings = examined(box)
    assert findings["service"] == [("warning", "the service is stopped")]
    assert findings["daemon"] == [("ok", "no daemon is running")]


def test_a_service_on_demand_is_not_woken(box: Box) -> None:
    """Who looks is no request."""
    box.edgeinfer("service", "install", "--on-demand")
    findings = examined(box)
    assert findings["service"] == [("ok", "waiting (systemd, system)")]
    assert findings["port"] == [("ok", "the service manager is listening on 127.0.0.1:11435")]
    assert box.show("ActiveState") == "inactive"


def test_a_service_with_wrong_settings(box: Box) -> None:
    """What it failed of is told twice: by the file, and by the service."""
    box.write("/etc/edgeinfer/config.toml", "pralel = 4\n")
    box.run("systemctl", "stop", "edgeinfer.socket")
    box.attempt("systemctl", "start", "edgeinfer.service")
    findings = examined(box)
    assert findings["configuration"] == [
        ("error", "unknown setting 'pralel' in file /etc/edgeinfer/config.toml")
    ]
    assert findings["service"] == [("error", "the service has failed: exit status 2: its settings are wrong")]
