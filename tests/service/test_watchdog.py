"""Signs of life: from the event loop, and only while the engine makes progress."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgeinfer.notify import extend, watchdog_seconds
from edgeinfer.server import watchdog as module
from edgeinfer.server.watchdog import watchdog


class Engine:
    """A stand-in for what the watchdog watches."""

    def __init__(self) -> None:
        self.state = "ready"
        self.healthy = True


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.delenv("WATCHDOG_PID", raising=False)
        yield sock


def heard(manager: socket.socket) -> list[str]:
    messages = []
    with contextlib.suppress(BlockingIOError):
        while True:
            messages.append(manager.recv(1000).decode())
    return messages


async def watch(engine: Engine, seconds: float) -> None:
    with contextlib.suppress(asyncio.TimeoutError):
        await asyncio.wait_for(watchdog(engine), seconds)


async def test_a_daemon_at_work_gives_signs_of_life(
    manager: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It sends three in the time that the service manager waits for one."""
    monkeypatch.setenv("WATCHDOG_USEC", "300000")
    await watch(Engine(), 0.85)
    messages = heard(manager)
    assert set(messages) == {"WATCHDOG=1"}
    assert 3 <= len(messages) <= 10


async def test_none_come_while_the_engine_hangs(
    manager: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A running event loop is not enough. They resume when the engine does."""
    monkeypatch.setenv("WATCHDOG_USEC", "300000")
    engine = Engine()
    engine.healthy = False
    await watch(engine, 0.5)
    assert heard(manager) == []
    engine.healthy = True
    await watch(engine, 0.3)
    assert heard(manager)


@pytest.mark.parametrize("state", ["loading", "reloading"])
async def test_a_start_asks_for_more_time_until_it_is_done(
    manager: socket.socket, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    """It does so without a watchdog too, and so does a reload, which loads a model as well."""
    monkeypatch.delenv("WATCHDOG_USEC", raising=False)
    monkeypatch.setattr(module, "MAX_PERIOD", 0.05)
    engine = Engine()
    engine.state = state
    task = asyncio.create_task(watchdog(engine))
    await asyncio.sleep(0.3)
    messages = heard(manager)
    assert len(messages) > 1
    assert set(messages) == {f"EXTEND_TIMEOUT_USEC={round(module.EXTENSION * 1e6)}"}
    engine.state = "ready"
    await asyncio.sleep(0.2)
    heard(manager)
    await asyncio.sleep(0.2)
    assert heard(manager) == []
    task.cancel()


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "-1"}, None),
        ({"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": str(os.getpid())}, 1.0),
    ],
)
def test_a_watch_is_kept_over_the_process_that_is_named(
    environ: dict[str, str], seconds: float | None
) -> None:
    """A child that inherits the variables is not watched."""
    assert watchdog_seconds(environ) == seconds


def test_more_time_is_asked_for_in_microseconds(manager: socket.socket) -> None:
    """sd_notify(3) requires that."""
    assert extend(1.5)
    assert heard(manager) == ["EXTEND_TIMEOUT_USEC=1500000"]
