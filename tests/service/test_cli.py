"""`edgeinfer service` and `edgeinfer logs`, under this machine's service manager."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from edgeinfer.service.systemd import BOOTED
from tests.support.cli import EDGEINFER, environment, run

without_systemd = pytest.mark.skipif(BOOTED.is_dir(), reason="systemd runs this machine")


def test_everything_is_shown_before_it_is_done(tmp_path: Path) -> None:
    """It is shown in the form of a script, and nothing is written."""
    done = run(tmp_path, "service", "install", "--user", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert f"# {tmp_path}/.config/" in done.stdout
    assert "$ " in done.stdout
    assert not (tmp_path / ".config").exists()


def test_a_program_can_read_it_too(tmp_path: Path) -> None:
    """JSON has every file with its text and mode."""
    done = run(tmp_path, "service", "install", "--user", "--dry-run", "--json")
    status = json.loads(done.stdout)
    assert status["scope"] == "user"
    assert status["status"] is None
    assert {"path", "mode", "text", "new"} == set(status["files"][0])
    assert all(file["new"] for file in status["files"])
    assert any("serve" in file["text"] for file in status["files"])


def test_variables_of_the_shell_are_not_the_services(tmp_path: Path) -> None:
    """A note says so; the configuration file counts, wherever it is."""
    config = tmp_path / "elsewhere.toml"
    config.write_text('host = "localhost"\n')
    done = run(
        tmp_path,
        *("service", "install", "--user", "--dry-run", "--json"),
        EDGEINFER_MODEL="/no/such.gguf",
        EDGEINFER_CONFIG=str(config),
    )
    assert "note: EDGEINFER_MODEL is set in this shell" in done.stderr
    assert any(str(config) in file["text"] for file in json.loads(done.stdout)["files"])


def test_a_service_that_is_not_there_is_no_surprise(tmp_path: Path) -> None:
    """The exit code tells its state; commands that need a service say how to install one."""
    done = run(tmp_path, "service", "status", "--user")
    assert (done.returncode, "not installed" in done.stdout) == (1, True)
    done = run(tmp_path, "service", "status", "--user", "--json")
    assert json.loads(done.stdout)["installed"] is False
    done = run(tmp_path, "service", "start", "--user")
    assert done.returncode == 1
    assert "hint: edgeinfer service install" in done.stderr


def test_a_plan_that_cannot_be_made_installs_nothing(tmp_path: Path) -> None:
    """The error is the plan's own."""
    config = tmp_path / ".config/edgeinfer/config.toml"
    config.parent.mkdir(parents=True)
    config.write_text('model = "/no/such.gguf"\n')
    done = run(tmp_path, "service", "install", "--user")
    assert done.returncode == 1
    assert "/no/such.gguf" in done.stderr
    assert not (tmp_path / ".local").exists()


@without_systemd
def test_the_log_is_shown(tmp_path: Path) -> None:
    """The last lines are shown."""
    log = tmp_path / ".local/state/edgeinfer/log"
    log.parent.mkdir(parents=True)
    log.write_text("".join(f"line {number}\n" for number in range(9)))
    done = subprocess.run(
        [*EDGEINFER, "logs", "--user", "-n", "2"],
        capture_output=True,
        text=True,
        env=environment(tmp_path),
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "line 7\nline 8\n")


@without_systemd
def test_without_a_service_there_is_no_log(tmp_path: Path) -> None:
    """That is said in our words, and not in those of the program that would print it."""
    done = run(tmp_path, "logs", "--user")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: edgeinfer is not installed as a service")
