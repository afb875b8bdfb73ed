"""The service under launchd: its files, and the commands that would be run on a Mac."""

from __future__ import annotations

import getpass
import plistlib
from pathlib import Path

import pytest

from edgeinfer.errors import ServiceFailed
from edgeinfer.service import discovery
from edgeinfer.service.builtin import BuiltinManager
from edgeinfer.service.file_transaction import ServiceFile
from edgeinfer.service.install import propose
from edgeinfer.service.launchd import LaunchdManager
from edgeinfer.service.manager import ServiceManager
from edgeinfer.service.spec import Scope
from tests.support.service import service

HOME = "/Users/ada"


def test_an_agent_starts_a_monitor_at_login() -> None:
    """launchd restarts it only if it dies, as a final failure would repeat; a stop gets time."""
    manager = LaunchdManager("user", {"HOME": HOME})
    spec, _, plist = manager.files(service(scope="user", drain_timeout=60.0))
    assert plist.path == Path(HOME, "Library/LaunchAgents/edgeinfer.plist")
    content = plistlib.loads(plist.text.encode())
    assert content["ProgramArguments"] == [
        "/opt/edgeinfer/bin/python",
        "-m",
        "edgeinfer.service.monitor",
        str(spec.path),
    ]
    assert content["RunAtLoad"] is True
    assert content["KeepAlive"] == {"SuccessfulExit": False}
    assert content["ExitTimeOut"] == 90
    assert content["Umask"] == 0o077
    assert content["StandardErrorPath"].startswith(HOME)


def test_what_it_runs_is_the_same_as_without_launchd() -> None:
    """Both have one source."""
    spec, *_ = LaunchdManager("user", {"HOME": HOME}).files(service(scope="user"))
    assert '"/opt/edgeinfer/bin/edgeinfer"' in spec.text
    assert spec.path == Path(HOME, ".config/edgeinfer/service.json")


def test_the_commands_are_launchctls() -> None:
    """--dry-run shows them before they are run."""
    commands = propose(LaunchdManager("user", {"HOME": HOME}), service(scope="user")).commands
    assert [command[:2] for command in commands] == [["launchctl", "enable"], ["launchctl", "bootstrap"]]
    assert commands[1][-1].endswith("LaunchAgents/edgeinfer.plist")


def test_a_mac_has_no_service_of_the_system() -> None:
    """It would run as root."""
    with pytest.raises(ServiceFailed, match="user"):
        LaunchdManager("system", {"HOME": HOME})


@pytest.mark.parametrize(
    ("platform", "booted", "name"), [("darwin", False, "launchd"), ("linux", False, "none")]
)
def test_each_machine_has_its_manager(
    platform: str, booted: bool, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """systemd counts only if it runs the machine; in a container it may be installed but inactive."""
    monkeypatch.setattr("sys.platform", platform)
    manager: ServiceManager = discovery.manager_for("user", {"HOME": HOME}, tmp_path / "absent")
    assert manager.name == name


def test_systemd_is_used_where_it_runs_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its folder shows that, as for sd_booted(3)."""
    monkeypatch.setattr("shutil.which", lambda _: "/bin/systemctl")
    assert discovery.manager_for("system", {"HOME": HOME}, tmp_path).name == "systemd"
    monkeypatch.setattr("shutil.which", lambda _: None)
    assert discovery.manager_for("system", {"HOME": HOME}, tmp_path).name == "none"


def test_the_service_that_is_there_is_the_one_meant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an option, a user's own service comes before the system's."""
    monkeypatch.setattr(discovery, "BOOTED", tmp_path / "absent")
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    environ = {"HOME": str(tmp_path)}
    assert discovery.installed_manager(environ).scope == "user"
    monkeypatch.setattr("os.geteuid", lambda: 0)
    manager = discovery.installed_manager(environ)
    assert manager.scope == "system"
    spec, _ = discovery.manager_for("user", environ, tmp_path / "absent").paths()
    spec.parent.mkdir(parents=True)
    spec.write_text("{}")
    assert discovery.installed_manager(environ).scope == "user"


@pytest.mark.parametrize(
    ("uid", "scope", "hint"), [(1000, "system", "use sudo"), (0, "user", "leave out sudo")]
)
def test_a_second_service_of_another_scope_must_be_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uid: int, scope: Scope, hint: str
) -> None:
    """Both would want the same port."""
    there = ServiceFile(tmp_path / "service.json", "{}")
    theirs = BuiltinManager(scope, {"HOME": str(tmp_path)})
    monkeypatch.setattr(theirs, "paths", lambda: [there.path])
    monkeypatch.setattr(discovery, "manager_for", lambda *_: theirs)
    monkeypatch.setattr("os.geteuid", lambda: uid)
    environ = {"HOME": str(tmp_path), "SUDO_USER": getpass.getuser()}
    discovery.check_default_scope(environ)
    there.path.write_text(there.text)
    with pytest.raises(ServiceFailed, match="already") as caught:
        discovery.check_default_scope(environ)
    assert hint in str(caught.value.hint)
