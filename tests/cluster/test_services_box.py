"""The fleet's services under a really booted systemd: a head and a node, hardened as the daemon's is."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.paths import ROOT

if sys.platform != "linux":
    pytest.skip("no systemd but on Linux", allow_module_level=True)
if os.geteuid() != 0:
    pytest.skip("only root can boot a box", allow_module_level=True)

from tests.support.systemd_box import Box

pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.heavy, pytest.mark.timeout(900)]

HEAD, NODE = "edgeinfer-head@127.0.0.1", "edgeinfer-node@127.0.0.1:6390"
TOKEN = "/etc/edgeinfer/cluster-token"
CHAT = {"messages": [{"role": "user", "content": "What is edgeinfer?"}], "max_tokens": 8}

PYTHON = f"""[Service]
ProtectHome=tmpfs
BindReadOnlyPaths={sys.base_prefix} {sys.prefix} {ROOT}
"""
"""This machine's Python may be in a home, where no service may look."""


@pytest.fixture(scope="module")
def box() -> Iterator[Box]:
    """A machine with the services' files."""
    box = Box()
    try:
        box.start()
        for folder in (Path(sys.base_prefix), *Path(sys.base_prefix).parents):
            box.run("chmod", "a+rx", str(folder))
        box.run("useradd", "--system", "--home-dir", "/var/lib/edgeinfer", "edgeinfer")
        box.run("ln", "-s", str(Path(sys.prefix, "bin/edgeinfer")), "/usr/local/bin/edgeinfer")
        for name in ("edgeinfer-head@", "edgeinfer-node@"):
            box.copy(ROOT / f"systemd/{name}.service", f"/etc/systemd/system/{name}.service")
            box.write(f"/etc/systemd/system/{name}.service.d/10-test.conf", PYTHON)
        box.write(TOKEN, "0123456789abcdef" * 4)
        box.run("chmod", "600", TOKEN)
        box.run("systemctl", "daemon-reload")
        yield box
    finally:
        box.close()


def start(box: Box, unit: str) -> None:
    assert box.attempt("systemctl", "start", unit).returncode == 0, journal(box, unit)


def stop(box: Box, unit: str) -> None:
    """It ends as it should, and so does all that it has started."""
    box.run("systemctl", "stop", unit)
    assert box.show("Result", unit) == "success", journal(box, unit)
    assert box.attempt("pgrep", "--uid", "edgeinfer").stdout == ""


def journal(box: Box, unit: str) -> str:
    return box.run("journalctl", f"--unit={unit}", "--lines=40", "--no-pager")


def until(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + 240
    while not condition():
        assert time.monotonic() < end, f"not within 240 s: {what}"
        time.sleep(0.5)


def answers(box: Box) -> bool:
    return box.fetch("/v1/chat/completions", CHAT)[0] == 200


def users(box: Box, *programs: str) -> set[str]:
    return set(box.run("ps", "-C", ",".join(programs), "-o", "user=").split())


@pytest.mark.parametrize("unit", [HEAD, "edgeinfer-node@head"])  # a colon would begin an alias here
def test_systemd_finds_nothing_wrong_with_a_service(box: Box, unit: str) -> None:
    done = box.attempt("systemd-analyze", "verify", "--man=no", f"{unit}.service")
    assert (done.returncode, done.stderr) == (0, "")
    box.run("systemd-analyze", "security", "--threshold=20", "--no-pager", f"{unit}.service")


def test_a_head_is_a_service_that_answers_and_starts_ray_again(box: Box) -> None:
    """It runs as the service's user, and root sees the fleet without being told where it is."""
    start(box, HEAD)
    until(lambda: answers(box), "an answer")
    assert users(box, "raylet", "gcs_server") == {"edgeinfer"}
    assert "edgeinfer-nano  ready" in box.edgeinfer("cluster", "status")
    keeper = box.show("MainPID", HEAD)
    box.run("pkill", "--signal=KILL", "raylet")
    until(lambda: box.attempt("pgrep", "raylet").returncode == 0, "another raylet")
    until(lambda: answers(box), "an answer after a crash of Ray")
    assert keeper == box.show("MainPID", HEAD)
    stop(box, HEAD)


def test_a_node_is_a_service_that_joins_and_leaves(box: Box) -> None:
    """Its token is in a file that only root reads; a head that is not there yet is tried again."""
    box.write("/root/.local/state/edgeinfer/cluster/token", "0123456789abcdef" * 4)
    box.run("systemctl", "start", "--no-block", NODE)
    box.edgeinfer("cluster", "up", "--no-engine", "--port=6390")
    until(lambda: answers(box), "an answer")
    assert "edgeinfer" in users(box, "raylet")
    stop(box, NODE)
    box.edgeinfer("cluster", "down")
