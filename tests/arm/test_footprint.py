"""A daemon on ARM loads what it loads on x86, and takes as much memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.arm.conftest import beside, emulated
from tests.support.arm_box import open_box
from tests.support.arm_daemon import Daemon
from tests.support.arm_layers import SITE
from tests.support.footprint import HOOK, Footprint, footprint

pytestmark = [pytest.mark.heavy, pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(1800)]


def footprints(daemon: Daemon) -> dict[str, Footprint]:
    """Those of the daemon and of its worker, after an answer."""
    daemon.answers("edgeinfer-nano")
    pids = {"daemon": daemon.fetch("/status")["pid"], "worker": daemon.worker()}
    return {name: footprint(pid, daemon.run) for name, pid in pids.items()}


CHOICE = ("uvicorn.supervisors.statreload", "uvicorn.supervisors.watchfilesreload")
"""Of these, uvicorn imports the second one where watchfiles is installed."""


def test_daemon_and_worker_are_what_they_are_on_x86(
    layers: Sequence[Path], models: Path, tmp_path: Path
) -> None:
    """The same modules, and the same memory within 15 percent. They are not confined, to be able to tell."""
    (tmp_path / "hook").mkdir()
    (tmp_path / "hook/sitecustomize.py").write_text(HOOK)
    free = {"EDGEINFER_CONFINE": "false"}
    with open_box("cortex-a76", layers) as box:
        box.write("/srv/hook/sitecustomize.py", HOOK)
        with emulated(box, PYTHONPATH="/srv/hook", **free) as daemon:
            arm = footprints(daemon)
    with beside(tmp_path, models, PYTHONPATH=str(tmp_path / "hook"), **free) as daemon:
        x86 = footprints(daemon)
    # The environment of the tests has more, which some packages use where it is there.
    installed = {path.name.partition(".")[0] for layer in layers for path in (layer / SITE).glob("*")}
    for name in ("daemon", "worker"):
        modules, expected = (
            {module for module in there[name].modules if module.partition(".")[0] in installed}.difference(
                CHOICE
            )
            for there in (arm, x86)
        )
        assert expected == modules
        assert arm[name].resident == pytest.approx(x86[name].resident, rel=0.15)
