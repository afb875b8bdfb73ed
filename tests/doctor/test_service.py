"""The service: its state, its files, and as it would be installed."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from edgeinfer.doctor import service as unit
from edgeinfer.doctor.context import DoctorContext
from edgeinfer.errors import ModelNotFound
from edgeinfer.plan import Plan
from edgeinfer.service import units
from edgeinfer.service.builtin import BuiltinManager
from edgeinfer.service.command import Command
from edgeinfer.service.devices import HostDevices
from edgeinfer.service.file_transaction import ServiceFile
from edgeinfer.service.spec import Program, Requirements, ServiceSpec
from edgeinfer.settings import Settings
from tests.support.cli import environment
from tests.support.doctor import RUNNING, brief
from tests.support.service import service


@pytest.mark.parametrize(
    ("changed", "level", "text"),
    [
        ({"installed": False}, "note", "edgeinfer is not installed as a service"),
        ({"state": "failed", "detail": "exit status 2"}, "error", "the service has failed: exit status 2"),
        ({"state": "stopped"}, "warning", "the service is stopped"),
        ({"state": "stopped", "enabled": False}, "note", "the service is stopped"),
        ({"state": "starting"}, "note", "the service is starting"),
        ({"restarts": 1}, "warning", "the service was restarted once after a failure"),
        ({"restarts": 3}, "warning", "the service was restarted 3 times after a failure"),
        ({"enabled": False}, "note", "the service does not start again after a reboot"),
    ],
)
def test_the_state_of_the_service(changed: dict[str, Any], level: str, text: str) -> None:
    """As its manager has it."""
    assert brief(unit.check_state(replace(RUNNING, **changed), [])) == [(level, text)]


def test_a_service_that_is_as_it_should_be() -> None:
    """In words; and one whose manager has never read its files."""
    assert unit.check_state(RUNNING, [Path("/etc/x")]) == []
    assert unit.summary(RUNNING) == "running (systemd, system), pid 7"
    [unread] = unit.check_state(replace(RUNNING, installed=False), [Path("/etc/x.service")])
    assert (unread.level, unread.text) == (
        "error",
        "the service manager does not know the service, although /etc/x.service exists",
    )


class Units:
    """systemd's files in a folder."""

    name = "systemd"
    scope = "user"

    def __init__(self, folder: Path) -> None:
        self.environ = {"XDG_CONFIG_HOME": str(folder)}

    def files(self, spec: ServiceSpec) -> list[ServiceFile]:
        return units.files(spec, HostDevices(systemd=252), self.environ)

    def paths(self) -> list[Path]:
        return units.paths("user", self.environ)

    def commands(self, spec: ServiceSpec, *, start: bool) -> list[Command]:
        return []

    def notes(self, spec: ServiceSpec) -> list[str]:
        return ["it runs while pi is logged in; for always: sudo loginctl enable-linger pi"]


@pytest.fixture
def program(tmp_path: Path) -> Program:
    """That can be run."""
    executable = tmp_path / "50% off/edgeinfer"
    executable.parent.mkdir()
    executable.write_text("")
    executable.chmod(0o755)
    return Program(executable, Path(sys.executable))


@pytest.fixture
def installed(tmp_path: Path, program: Program) -> tuple[Any, ServiceSpec]:
    """A manager with a service's files in place, and that service."""
    manager = Units(tmp_path)
    spec = service(scope="user", program=program, requirements=Requirements(memory=10**9, ram=4 * 10**9))
    for file in manager.files(spec):
        file.path.parent.mkdir(parents=True, exist_ok=True)
        file.path.write_text(file.text)
    return manager, spec


def test_files_that_are_up_to_date(installed: tuple[Any, ServiceSpec]) -> None:
    """What memory there was at the time does not matter."""
    manager, spec = installed
    assert unit.installed_program(manager.paths()) == spec.program.executable
    assert unit.check_files(manager, spec) == []
    assert (
        unit.check_files(manager, replace(spec, requirements=Requirements(memory=2 * 10**9, ram=4 * 10**9)))
        == []
    )


def test_files_of_another_version_are_told(installed: tuple[Any, ServiceSpec]) -> None:
    """A line more in the unit, a file that is gone, one too many."""
    manager, spec = installed
    [path, drop_in] = [file.path for file in manager.files(spec)]
    path.write_text(path.read_text().replace("Type=notify", "Type=simple"))
    [finding] = unit.check_files(manager, spec)
    assert (finding.level, finding.fix) == ("warning", "edgeinfer service install")
    assert finding.text.endswith(f"that would be installed now: {path}")
    path.unlink()
    socket_file = path.with_suffix(".socket")
    socket_file.write_text("")
    assert unit.check_files(manager, spec)[0].text.endswith(f": {path}, {socket_file}")
    drop_in.unlink()
    assert str(drop_in) in unit.check_files(manager, spec)[0].text


def test_a_service_of_another_program(installed: tuple[Any, ServiceSpec], program: Program) -> None:
    """It may be right; one that is gone is not."""
    manager, spec = installed
    other = replace(spec, program=Program(Path("/opt/edgeinfer"), Path("/opt/python")))
    [finding] = unit.check_files(manager, other)
    assert (finding.level, finding.text) == (
        "note",
        f"the service runs another edgeinfer than this one: {program.executable}",
    )
    assert unit.check_files(manager, None) == []
    program.executable.unlink()
    [gone] = unit.check_files(manager, None)
    assert (gone.level, gone.text) == (
        "error",
        f"the service runs {program.executable}, which does not exist",
    )


def test_what_a_manager_wants_to_be_known(installed: tuple[Any, ServiceSpec]) -> None:
    """Text and remedy apart."""
    [finding] = unit.check_notes(*installed)
    assert (finding.level, finding.text) == ("note", "it runs while pi is logged in")
    assert finding.fix == "for always: sudo loginctl enable-linger pi"


def test_a_service_of_the_builtin_manager(tmp_path: Path, program: Program) -> None:
    """Its program stands in another kind of file."""
    manager = BuiltinManager("user", {"HOME": str(tmp_path)})
    spec = service(scope="user", program=program)
    for file in manager.files(spec):
        file.path.parent.mkdir(parents=True)
        file.path.write_text(file.text)
        file.path.chmod(file.mode)
    assert unit.installed_program(manager.paths()) == program.executable
    assert unit.check_files(manager, spec) == []


def test_the_service_as_it_would_be_installed(tmp_path: Path) -> None:
    """The configuration file's settings, and nothing of this shell's; what the model needs."""
    config = tmp_path / "my.toml"
    config.write_text("ctx = 512\n")
    environ = environment(tmp_path, EDGEINFER_CONFIG=str(config), EDGEINFER_STORE=str(tmp_path))
    context = DoctorContext(environ)
    context.manager = BuiltinManager("user", environ)
    context.status = replace(RUNNING, manager="none", scope="user", on_demand=False)
    spec = context.service
    assert spec
    assert spec.program.executable.name == "edgeinfer"
    assert (spec.settings.ctx, spec.settings.port, spec.config) == (512, Settings().port, config)
    assert [path.name for path in spec.requirements.models] == ["edgeinfer-nano.gguf"]


def test_each_model_of_the_settings_has_a_plan(tmp_path: Path) -> None:
    """Or the reason why there is none; the default model is not repeated."""
    config = tmp_path / "my.toml"
    config.write_text("[models.same]\nmodel = 'edgeinfer-nano'\n[models.gone]\nmodel = '/no/such.gguf'\n")
    context = DoctorContext(environment(tmp_path, EDGEINFER_CONFIG=str(config)))
    assert isinstance(context.plan, Plan)
    assert list(context.model_plans) == ["gone"]
    assert isinstance(context.model_plans["gone"], ModelNotFound)


def test_the_default_model_may_be_a_table(tmp_path: Path) -> None:
    """By its name there, or because its file is called like the table."""
    config = tmp_path / "my.toml"
    for text in ("model = 'nano'\n[models.nano]\nmodel = 'edgeinfer-nano'", "[models.edgeinfer-nano]"):
        config.write_text(f"{text}\nctx = 777\n")
        context = DoctorContext(environment(tmp_path, EDGEINFER_CONFIG=str(config)))
        assert isinstance(context.plan, Plan)
        assert 777 == context.plan.config.ctx
        assert {} == context.model_plans


def test_a_system_service_is_seen_as_it_sees_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By whoever is not root; a user's own is the user's."""
    environ = {"HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path), "PATH": "/bin"}
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    context = DoctorContext(environ)
    context.status = RUNNING
    assert context.store.root == Path("/var/lib/edgeinfer")
    own = DoctorContext(environ)
    own.status = replace(RUNNING, scope="user")
    assert own.store.root == tmp_path / "edgeinfer"
