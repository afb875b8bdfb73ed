"""`edgeinfer key`: whose keys they are, and whether the daemon asks for them yet."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeinfer.errors import ServiceFailed
from edgeinfer.service import discovery
from edgeinfer.service.builtin import BuiltinManager
from edgeinfer.service.spec import Scope
from tests.support.cli import daemon, run


@pytest.fixture
def nobodys_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No service on this machine, whatever is installed for real."""
    install(monkeypatch, BuiltinManager("user", {"HOME": str(tmp_path)}))


def install(monkeypatch: pytest.MonkeyPatch, manager: BuiltinManager) -> None:
    monkeypatch.setattr(discovery, "installed_manager", lambda: manager)


def be(monkeypatch: pytest.MonkeyPatch, scope: Scope) -> None:
    monkeypatch.setattr(discovery, "default_scope", lambda: scope)


@pytest.mark.parametrize("command", [("add", "laptop"), ("ls",), ("rm", "laptop")])
def test_the_systems_keys_are_roots(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    """A user's file would never be read by that service: nothing is written, and sudo is named."""
    be(monkeypatch, "user")
    install(monkeypatch, BuiltinManager("system", {"HOME": str(tmp_path)}))
    done = run(tmp_path, "key", *command)
    assert (1, "") == (done.returncode, done.stdout)
    assert "only root" in done.stderr
    assert "hint: sudo " in done.stderr
    assert f"edgeinfer key {' '.join(command)}; " in done.stderr
    assert [] == [*tmp_path.rglob("keys")]


@pytest.mark.parametrize("command", [("add", "laptop"), ("ls",), ("rm", "laptop")])
def test_roots_keys_are_not_a_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    """With sudo, the service of the user who typed it is meant, and its file is another one."""
    be(monkeypatch, "system")
    install(monkeypatch, BuiltinManager("system", {"HOME": str(tmp_path)}))

    def theirs() -> None:
        raise ServiceFailed("pi has edgeinfer as a service already")

    monkeypatch.setattr(discovery, "check_default_scope", theirs)
    monkeypatch.setattr(BuiltinManager, "paths", lambda _: [])
    done = run(tmp_path, "key", *command)
    assert (1, "") == (done.returncode, done.stdout)
    assert f"hint: without sudo: edgeinfer key {' '.join(command)}" in done.stderr


def test_a_file_that_is_named_is_used_whoever_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the option, or by the variable that a daemon of one's own reads."""
    be(monkeypatch, "user")
    install(monkeypatch, BuiltinManager("system", {"HOME": str(tmp_path)}))
    keys = tmp_path / "keys"
    assert 0 == run(tmp_path, "key", "add", "a", "--api-key-file", str(keys)).returncode
    assert 0 == run(tmp_path, "key", "add", "b", EDGEINFER_API_KEY_FILE=str(keys)).returncode
    assert 2 == len(keys.read_text().splitlines())


@pytest.mark.usefixtures("nobodys_service")
def test_a_daemon_that_asks_for_no_key_yet_is_told(tmp_path: Path) -> None:
    """It began without keys, and goes on without them until it is started again."""
    keys = {"EDGEINFER_API_KEY_FILE": str(tmp_path / "keys")}
    with daemon() as server:
        done = run(tmp_path, "key", "add", "laptop", EDGEINFER_PORT=server.port, **keys)
    assert (0, 1) == (done.returncode, done.stdout.count("\n"))
    assert "still answers without a key" in done.stderr
    assert "hint: " in done.stderr
    done = run(tmp_path, "key", "add", "phone", **keys)
    assert "still" not in done.stderr, "no daemon runs"
