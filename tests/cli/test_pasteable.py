"""Commands in hints, as this user's shell would find them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from edgeinfer.cli import pasteable
from edgeinfer.cli.app import app
from tests.support.cli import PATH, run

HERE = str(Path(sys.prefix, "bin/edgeinfer"))


def test_every_command_is_known() -> None:
    """Of the words after `edgeinfer`, these make it a command."""
    listed = [command for command in app.registered_commands if not command.hidden]
    names = [command.callback.__name__ for command in listed if command.callback]
    names += [group.name for group in app.registered_groups if isinstance(group.name, str)]
    assert set(names) <= set(pasteable.COMMANDS.split())


@pytest.fixture
def bare_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A shell and a sudo that find no `edgeinfer`; returns a folder that sudo looks in."""
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.setattr(pasteable, "ROOT_PATH", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("hint", "wanted"),
    [
        ("edgeinfer service start", f"{HERE} service start"),
        ("sudo edgeinfer service start", f"sudo {HERE} service start"),
        ("wait, or see: edgeinfer logs -f", f"wait, or see: {HERE} logs -f"),
        ("edgeinfer is running already?", "edgeinfer is running already?"),
        ("/opt/bin/edgeinfer doctor", "/opt/bin/edgeinfer doctor"),
        ("sudo loginctl enable-linger pi", "sudo loginctl enable-linger pi"),
        ("systemctl restart edgeinfer", "systemctl restart edgeinfer"),
        (".venv/bin/edgeinfer status", ".venv/bin/edgeinfer status"),
    ],
)
@pytest.mark.usefixtures("bare_path")
def test_a_command_that_would_not_be_found_gets_its_path(hint: str, wanted: str) -> None:
    """Prose, and what has a path already, stays."""
    assert wanted == pasteable.pasteable(hint)


def test_what_the_path_has_stays_short(bare_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's PATH and sudo's are two."""
    monkeypatch.setenv("PATH", PATH)
    both = "edgeinfer logs; sudo edgeinfer pull x"
    assert f"edgeinfer logs; sudo {HERE} pull x" == pasteable.pasteable(both)
    command = bare_path / "edgeinfer"
    command.touch(0o755)
    assert both == pasteable.pasteable(both)


@pytest.mark.usefixtures("bare_path")
def test_use_sudo_is_the_command_that_was_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its words are quoted."""
    monkeypatch.setattr(sys, "argv", ["edgeinfer", "key", "add", "my laptop"])
    command = f"sudo {HERE} key add 'my laptop'"
    assert f"{command}, or --user" == pasteable.pasteable("use sudo, or --user")
    assert command == pasteable.pasteable("try again with sudo")


def test_the_hint_of_an_error_can_be_pasted(tmp_path: Path) -> None:
    """The environment is not activated."""
    done = run(tmp_path, "service", "start", "--user", PATH="/usr/bin:/bin")
    assert f"hint: {HERE} service install" in done.stderr
