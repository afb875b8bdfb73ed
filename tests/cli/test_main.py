"""The command as a whole: version, help, errors, and what it imports."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from edgeinfer import __version__
from tests.support.cli import EDGEINFER, HEAVY, environment, run


def test_the_version_is_one_line(tmp_path: Path) -> None:
    """For scripts, and for bug reports."""
    done = run(tmp_path, "--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"edgeinfer {__version__}\n", "")


def test_the_version_loads_nothing_heavy(tmp_path: Path) -> None:
    """On a small board an import is a long time."""
    code = (
        f"import sys; from edgeinfer.cli import main; sys.argv = ['edgeinfer', '--version']; main();"
        f" print([m for m in {HEAVY} if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment(tmp_path), check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_no_command_shows_help_and_is_wrong_usage(tmp_path: Path) -> None:
    """A newcomer types the name and looks."""
    done = run(tmp_path)
    assert done.returncode == 2
    assert 'edgeinfer chat "Hello"' in done.stdout + done.stderr


@pytest.mark.parametrize("command", ["serve", "chat", "status"])
def test_each_command_has_help_with_examples(command: str, tmp_path: Path) -> None:
    """Laid out as they were written."""
    done = run(tmp_path, command, "--help")
    assert done.returncode == 0
    assert f"\n  Examples:\n    edgeinfer {command}" in done.stdout


def test_an_error_is_a_message_and_a_hint(tmp_path: Path) -> None:
    """No traceback for what the user can mend."""
    done = run(tmp_path, "status", EDGEINFER_PROT="1")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "error: unknown setting 'prot' in env EDGEINFER_PROT\nhint: did you mean 'port'?\n"


def test_an_address_that_is_none_is_an_error(tmp_path: Path) -> None:
    """Also one that would drive the terminal."""
    done = run(tmp_path, "status", "--url", "http://127.0.0.1:1/\x1b[2J")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: http://127.0.0.1:1/\\x1b[2J: Invalid ")


def test_output_that_nobody_reads_is_no_error(tmp_path: Path) -> None:
    """`edgeinfer --help | head -0`."""
    process = subprocess.Popen(
        [*EDGEINFER, "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(tmp_path)
    )
    assert process.stdout
    process.stdout.close()
    assert process.stderr
    assert process.stderr.read() == b""
    process.stderr.close()
    process.wait()
