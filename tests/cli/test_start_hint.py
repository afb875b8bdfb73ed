"""The hint where no daemon answers: the service that is there, or a daemon in another terminal."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from edgeinfer.cli import service
from edgeinfer.service.manager import ServiceStatus
from edgeinfer.service.spec import Scope
from tests.support.cli import run


class Manager:
    """A service manager with a service in some state."""

    def __init__(self, status: ServiceStatus) -> None:
        self.scope: Scope = status.scope
        self._status = status

    def status(self) -> ServiceStatus:
        return self._status


STOPPED = ServiceStatus("systemd", "system", installed=True, state="stopped")


@pytest.mark.parametrize(
    ("status", "hint"),
    [
        (STOPPED, "sudo edgeinfer service start"),
        (msgspec.structs.replace(STOPPED, state="failed", scope="user"), "edgeinfer service start"),
        (msgspec.structs.replace(STOPPED, state="running"), "edgeinfer service status"),
        (msgspec.structs.replace(STOPPED, installed=False), "start one in another terminal: edgeinfer serve"),
    ],
)
@pytest.mark.parametrize("command", [("status",), ("models", "load", "x"), ("reload",)])
def test_a_service_that_is_stopped_is_the_one_to_start(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    status: ServiceStatus,
    hint: str,
    command: tuple[str, ...],
) -> None:
    """Another daemon would take its port."""
    monkeypatch.setattr(service, "select_manager", lambda _: Manager(status))
    monkeypatch.setattr("edgeinfer.cli.pasteable.ROOT_PATH", str(tmp_path))
    (tmp_path / "edgeinfer").touch(0o755)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    done = run(tmp_path, *command)
    assert 1 == done.returncode
    assert done.stderr.endswith(f"hint: {hint}\n")
