"""Messages to the service manager."""

from __future__ import annotations

import os
import socket
import sys
import threading
from pathlib import Path

import pytest

from edgeinfer.notify import notify


@pytest.fixture(autouse=True)
def _no_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)


def test_outside_systemd_nothing_happens() -> None:
    """There is no manager to notify."""
    assert not notify("READY=1")


@pytest.mark.parametrize("address", ["", "vsock:2:1234", "relative"])
def test_an_address_of_another_kind_is_left_alone(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only paths and abstract names are unix sockets."""
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    assert not notify("READY=1")


def test_a_manager_that_is_gone_is_no_reason_to_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """notify returns False."""
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    assert not notify("READY=1")


def test_systemd_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It gets one datagram with the state unchanged."""
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(path)
        monkeypatch.setenv("NOTIFY_SOCKET", path)
        assert notify("READY=1\nSTATUS=bereit für alles")
        assert "READY=1\nSTATUS=bereit für alles".encode() == manager.recv(4096)


def test_a_busy_manager_is_told_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a thread, since the caller must not wait: it may be the event loop. Pings are not worth that."""
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(path)
        monkeypatch.setenv("NOTIFY_SOCKET", path)
        while notify("WATCHDOG=1"):
            pass
        before = threading.active_count()
        assert not notify("WATCHDOG=1")
        assert before == threading.active_count()
        assert not notify("READY=1")
        manager.settimeout(10)
        while manager.recv(100) != b"READY=1":
            pass


def test_a_manager_that_hangs_does_not_make_the_daemon_hang(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The manager reads nothing, and its queue fills up."""
    monkeypatch.setattr("edgeinfer.notify.SEND_TIMEOUT", 0.05)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        assert notify("READY=1")
        assert not all(notify("WATCHDOG=1") for _ in range(2000))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has abstract names")
def test_systemd_is_told_under_an_abstract_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """The @ stands for the NUL byte."""
    name = f"edgeinfer-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0" + name)
        monkeypatch.setenv("NOTIFY_SOCKET", "@" + name)
        assert notify("STOPPING=1")
        assert b"STOPPING=1" == manager.recv(4096)
