"""The script that puts `edgeinfer` on the PATH."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from edgeinfer.service.shell_command import (
    SYSTEM_COMMAND,
    command_files,
    command_notes,
    command_path,
    command_paths,
)
from edgeinfer.service.spec import Program
from tests.support.service import service


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """The environment of a user whose home is empty."""
    return {"HOME": str(tmp_path)}


def test_it_runs_the_installed_program_with_its_arguments(tmp_path: Path, environ: dict[str, str]) -> None:
    """The program's path may have characters that a shell would take apart."""
    program = tmp_path / "it's a $HOME/edgeinfer"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\nprintf "%s|" "$@"\n')
    program.chmod(0o755)
    (file,) = command_files(service(scope="user", program=Program(program, program)), environ)
    file.path.parent.mkdir(parents=True)
    file.path.write_text(file.text)
    file.path.chmod(file.mode)
    output = subprocess.run([file.path, "a b", "$c"], capture_output=True, text=True, check=True).stdout
    assert "a b|$c|" == output


def test_the_systems_is_where_sudo_looks() -> None:
    """A user's is in the user's own folder, which needs no rights."""
    assert command_path("system") == SYSTEM_COMMAND == Path("/usr/local/bin/edgeinfer")
    assert command_path("user", {"HOME": "/home/pi"}) == Path("/home/pi/.local/bin/edgeinfer")


@pytest.mark.parametrize("kind", ["program", "script", "link", "broken link", "folder"])
def test_another_program_is_left_alone_and_told(tmp_path: Path, environ: dict[str, str], kind: str) -> None:
    """Neither an installation nor a removal touches it."""
    path = command_path("user", environ)
    path.parent.mkdir(parents=True)
    other = tmp_path / "other"
    other.write_bytes(b"\x7fELF")
    match kind:
        case "program":
            path.write_bytes(b"\x7fELF\x02\x01")
        case "script":
            path.write_text("#!/bin/sh\n# Written by hand\n")
        case "link":
            path.symlink_to(other)
        case "broken link":
            path.symlink_to(tmp_path / "gone")
        case "folder":
            path.mkdir()
    spec = service(scope="user")
    assert [] == command_files(spec, environ)
    assert [] == command_paths("user", environ)
    (note,) = command_notes(spec, environ)
    assert str(path) in note
    assert str(spec.program.executable) in note


def test_a_link_to_this_program_needs_no_word(tmp_path: Path, environ: dict[str, str]) -> None:
    """pipx and pip --user make such links and programs, and remove them."""
    program = tmp_path / "venv/bin/edgeinfer"
    program.parent.mkdir(parents=True)
    program.touch()
    path = command_path("user", environ)
    path.parent.mkdir(parents=True)
    path.symlink_to(program)
    spec = service(scope="user", program=Program(program, program))
    assert ([], [], []) == (
        command_files(spec, environ),
        command_paths("user", environ),
        command_notes(spec, environ),
    )


def test_a_script_of_an_earlier_installation_is_replaced_and_removed(environ: dict[str, str]) -> None:
    """It may run a program that has moved."""
    (old,) = command_files(service(scope="user"), environ)
    old.path.parent.mkdir(parents=True)
    old.path.write_text(old.text)
    moved = Program(Path("/srv/edgeinfer"), Path("/srv/python"))
    (new,) = command_files(service(scope="user", program=moved), environ)
    assert (old.path, "/srv/edgeinfer" in new.text) == (new.path, True)
    assert [old.path] == command_paths("user", environ)
