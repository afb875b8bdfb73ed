"""What is said about a service: whose it is, how long it runs, where it listens."""

from __future__ import annotations

import getpass
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from edgeinfer.cli.service_report import address_lines, network_urls, new_service_lines, status_text
from edgeinfer.service.manager import ServiceStatus
from edgeinfer.settings import Settings

ME = getpass.getuser()


def status(**given: Any) -> ServiceStatus:
    fields = {"manager": "systemd", "scope": "system", "installed": True, "state": "running"}
    return ServiceStatus(**{**fields, "enabled": True, **given})


def test_after_a_reboot_is_said_only_where_it_is_true() -> None:
    """A user's service without linger ends with the last login; the line says how to change that."""
    assert "starts again after a reboot" in status_text(status())
    assert "starts again after a reboot" in status_text(status(scope="user"))
    text = status_text(status(scope="user", while_logged_in=True))
    assert "reboot" not in text
    assert f"runs only while {ME} is logged in" in text
    assert f"hint: to run it always: sudo loginctl enable-linger {ME}" in text
    assert "does not start again after a reboot" in status_text(status(enabled=False))
    assert "reboot" not in status_text(status(manager="none", enabled=None))


def test_a_mac_has_no_linger() -> None:
    """Its agent runs from login to logout, and nothing changes that."""
    text = status_text(status(manager="launchd", scope="user", while_logged_in=True))
    assert f"runs only while {ME} is logged in" in text
    assert "loginctl" not in text


@pytest.mark.parametrize(
    ("sudo_user", "scope", "stop"),
    [
        ("pi", "system", "sudo edgeinfer service stop"),
        (None, "system", "edgeinfer service stop"),
        (None, "user", "edgeinfer service stop"),
    ],
)
def test_a_new_service_says_how_to_stop_it(
    monkeypatch: pytest.MonkeyPatch, sudo_user: str | None, scope: Any, stop: str
) -> None:
    """The command works in the shell that the installation was typed into."""
    monkeypatch.setattr("edgeinfer.cli.pasteable.program", lambda **_: "edgeinfer")
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.delenv("SUDO_USER", raising=False)
    if sudo_user:
        monkeypatch.setenv("SUDO_USER", sudo_user)
    first, *others = new_service_lines(status(scope=scope))
    assert ("this machine" if scope == "system" else f"the user {ME}") in first
    assert stop in [" ".join(line.split()[1:]) for line in others]
    assert any("logs -f" in line for line in others)


def test_the_addresses_are_those_that_work(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With keys, the example sends one; nothing needs a new curl."""
    address = SimpleNamespace(family=socket.AF_INET, address="192.168.1.7")
    local = SimpleNamespace(family=socket.AF_INET, address="127.0.0.1")
    monkeypatch.setattr(psutil, "net_if_addrs", lambda: {"lo": [local], "eth0": [address]})
    assert [] == network_urls(Settings())
    assert [] == network_urls(Settings(host="0.0.0.0", uds="/run/x"))
    assert ["http://192.168.1.7:80"] == network_urls(Settings(host="0.0.0.0", port=80))
    assert ["https://10.0.0.1:11435"] == network_urls(Settings(host="10.0.0.1", tls_cert="c", tls_key="k"))
    assert ["http://[fd00::1]:11435"] == network_urls(Settings(host="fd00::1"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("edgeinfer.server.auth.key_file.default_path", lambda _: tmp_path / "none")
    plain = "\n".join(address_lines(Settings()))
    assert "http://127.0.0.1:11435/v1" in plain
    assert "Authorization" not in plain
    keys = "\n".join(address_lines(Settings(host="0.0.0.0", api_key_file="/etc/edgeinfer/keys")))
    assert "http://192.168.1.7:11435/v1" in keys
    assert 'Authorization: Bearer $EDGEINFER_API_KEY"' in keys
    assert "edgeinfer key add NAME" in keys
    for text in (plain, keys):
        assert "--json" not in text
        assert " -H 'Content-Type: application/json' -d '{" in text
