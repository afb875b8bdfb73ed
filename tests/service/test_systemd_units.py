"""The files in `systemd/`: systemd accepts them, and they keep what the daemon relies on."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from configparser import RawConfigParser
from pathlib import Path

import pytest

from edgeinfer.server.run import ERROR_TIMEOUT, STARTUP_FAILURE, STOP_MARGIN, WRONG_SETTINGS
from edgeinfer.server.watchdog import EXTENSION, MAX_PERIOD
from edgeinfer.service import units
from edgeinfer.service.devices import HostDevices
from edgeinfer.service.spec import Program, Requirements
from edgeinfer.settings import Settings
from tests.support.paths import ROOT
from tests.support.service import service

SYSTEMD = ROOT / "systemd"
SYSTEM, USER = SYSTEMD / "edgeinfer.service", SYSTEMD / "user/edgeinfer.service"

GB = 1 << 30
EXPOSURE = 20
"""Tenths, at most, of systemd-analyze's scale to 10."""


def version() -> int:
    """The version of systemd; 0 if there is none."""
    if not shutil.which("systemd-analyze"):
        return 0
    output = subprocess.run(
        ["systemd-analyze", "--version"], capture_output=True, text=True, check=True
    ).stdout
    return int(output.split()[1])


needs_systemd = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd here")
every_unit = pytest.mark.parametrize("unit", [SYSTEM, USER], ids=["system", "user"])


class Lines(RawConfigParser):
    """The sections of a unit. Of repeated keys the last counts, which is enough here."""

    def optionxform(self, optionstr: str) -> str:
        return optionstr  # keys keep their case


def section(unit: Path, name: str) -> dict[str, str]:
    system = Lines(strict=False)
    system.read(unit)
    return dict(system[name])


def analyze(*arguments: str, **environ: str) -> tuple[int, str]:
    done = subprocess.run(
        ["systemd-analyze", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **environ},
        check=False,
    )
    return done.returncode, done.stderr


def put(folder: Path, files: dict[Path, str]) -> None:
    """Write files below `folder`, with a program that exists."""
    for path, text in files.items():
        inside = folder / path.name if path.suffix != ".conf" else folder / path.parent.name / path.name
        inside.parent.mkdir(exist_ok=True)
        for program in ("/usr/local/bin/edgeinfer", "%h/.local/bin/edgeinfer"):
            for key in ("ExecStart", "ExecReload"):
                text = text.replace(f"{key}={program}", f"{key}={sys.executable}")
        inside.write_text(text)


PROGRAM = Program(Path(sys.executable), Path(sys.executable), (Path("/home/pi/venv"),))
CASES = {
    "plain": service(program=PROGRAM),
    "limits": service(program=PROGRAM, requirements=Requirements(memory=GB, ram=8 * GB)),
    "home": service(program=PROGRAM, requirements=Requirements(models=(Path("/home/some one/50%:m.gguf"),))),
    "gpu": service(program=PROGRAM, requirements=Requirements(gpus=("nvidia",))),
    "network": service(program=PROGRAM, host="192.168.1.2", api_key_file="/etc/edgeinfer/keys"),
    "on demand": service(program=PROGRAM, on_demand=True, host="localhost"),
    "unix socket": service(program=PROGRAM, on_demand=True, uds="/run/edgeinfer/http.sock"),
    "user": service(
        scope="user", program=PROGRAM, requirements=Requirements(memory=GB, ram=8 * GB, gpus=("amd",))
    ),
}


@needs_systemd
@pytest.mark.parametrize("case", CASES)
def test_systemd_takes_the_units_without_a_word(tmp_path: Path, case: str) -> None:
    """It reports unknown keys, bad values and missing programs on stderr."""
    spec = CASES[case]
    files = units.files(spec, HostDevices(systemd=252, nodes=("/dev/nvidia0",)), {"HOME": str(tmp_path)})
    put(tmp_path, {f.path: f.text for f in files if "systemd" in f.path.parts})
    names = ["edgeinfer.service", *(["edgeinfer.socket"] if spec.on_demand else [])]
    scope = ["--user"] if spec.scope == "user" else []
    paths = [str(tmp_path / name) for name in names]
    assert analyze(*scope, "verify", "--man=no", *paths, XDG_RUNTIME_DIR=str(tmp_path)) == (0, "")


@needs_systemd
@pytest.mark.skipif(version() < 250, reason="this systemd can't rate a unit that is not installed")
@pytest.mark.parametrize("case", ["plain", "home"])
def test_the_systems_service_is_well_confined(tmp_path: Path, case: str) -> None:
    """systemd rates it, for a plan that computes on the CPU."""
    files = units.files(CASES[case], HostDevices(systemd=252), {})
    put(tmp_path, {f.path: f.text for f in files if "systemd" in f.path.parts})
    threshold = f"--threshold={EXPOSURE}"
    assert analyze("security", "--offline=true", threshold, str(tmp_path / "edgeinfer.service")) == (0, "")


@every_unit
def test_running_answers_get_their_time_before_systemd_kills(unit: Path) -> None:
    """The default drain_timeout needs no extension, and SIGTERM does not go to the worker."""
    system = section(unit, "Service")
    assert int(system["TimeoutStopSec"]) >= Settings().drain_timeout + ERROR_TIMEOUT + STOP_MARGIN
    assert system["KillMode"] == "mixed"


@every_unit
def test_a_daemon_asks_for_time_before_it_is_up(unit: Path) -> None:
    """A model may load as long as load_timeout, while a start that hangs is ended."""
    assert int(section(unit, "Service")["TimeoutStartSec"]) >= EXTENSION
    assert EXTENSION > 2 * MAX_PERIOD


@every_unit
def test_a_failure_that_would_come_again_is_the_last(unit: Path) -> None:
    """systemd and the daemon agree on the exit statuses."""
    statuses = section(unit, "Service")["RestartPreventExitStatus"].split()
    assert statuses == [str(WRONG_SETTINGS), str(STARTUP_FAILURE)]


@every_unit
def test_a_worker_that_runs_out_of_memory_does_not_end_the_service(unit: Path) -> None:
    """By default systemd stops a service if the kernel killed one of its processes."""
    assert section(unit, "Service")["OOMPolicy"] == "continue"


@every_unit
def test_a_service_that_dies_is_back_soon(unit: Path) -> None:
    """Restarts are limited, so that a crash at every start ends."""
    assert float(section(unit, "Service")["RestartSec"]) <= 2
    system = section(unit, "Unit")
    assert system["StartLimitIntervalSec"] == "10min"
    assert int(system["StartLimitBurst"]) >= 10


def test_both_units_start_and_end_alike() -> None:
    """They differ only in confinement, and in what users do not have."""
    same = {
        *("Type", "NotifyAccess", "TimeoutStartSec", "WatchdogSec", "Environment"),
        *("TimeoutAbortSec", "Restart", "RestartSec", "TimeoutStopSec", "LimitCORE", "TasksMax", "UMask"),
    }
    system, user = section(SYSTEM, "Service"), section(USER, "Service")
    assert {name: system[name] for name in same} == {name: user[name] for name in same}
    for unit in (system, user):  # which waits for the outcome, and fails if the reload fails
        assert unit["ExecReload"] == unit["ExecStart"].replace(" serve", " reload")


def test_models_are_read_and_not_written() -> None:
    """The daemon may only write to a folder of its own."""
    system = section(SYSTEM, "Service")
    assert system["ReadOnlyPaths"] == "/var/lib/edgeinfer"
    assert system["ReadWritePaths"] == "/var/lib/edgeinfer/daemon"
    assert system["StateDirectory"] == "edgeinfer edgeinfer/daemon"


FLEET = [SYSTEMD / "edgeinfer-head@.service", SYSTEMD / "edgeinfer-node@.service"]


@needs_systemd
@pytest.mark.skipif(version() < 250, reason="this systemd can't rate a unit that is not installed")
@pytest.mark.parametrize("unit", FLEET, ids=["head", "node"])
def test_a_fleets_services_are_confined_as_the_daemon_is(unit: Path) -> None:
    """But they speak with other machines."""
    assert analyze("security", "--offline=true", f"--threshold={EXPOSURE}", str(unit)) == (0, "")
    daemon, node = section(SYSTEM, "Service"), section(unit, "Service")
    same = {name for name in daemon if name.startswith(("Protect", "Private", "Restrict", "System", "Capab"))}
    same -= {"RestrictAddressFamilies", "ReadOnlyPaths"}
    assert {name: daemon[name] for name in same} == {name: node[name] for name in same}


def test_a_fleets_services_differ_only_in_what_they_start() -> None:
    head, node = (section(unit, "Service") for unit in FLEET)
    assert {"ExecStart", "LoadCredential"} == {name for name in node if node[name] != head.get(name)}
    assert head.keys() <= node.keys()
